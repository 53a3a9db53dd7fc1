// Package roster decides what the subscribers of presence topics are told: which users have
// joined and left a topic, or only how many are there. It is pure: time enters as an argument.
//
// Up to [MaxListed] members, an [Announcement] names the users that have joined and left since the
// one before. Beyond it, it has only their number, and only when that differs by one percent
// from what was announced before. An announcement goes to all members, so a join costs at most
// 200 deliveries, on average, whether a topic has ten members or 15,000, and its size does not
// grow either.
//
// A user who leaves is a member for the grace period, so that a reconnect announces nothing.
package roster
