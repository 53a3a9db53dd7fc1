// Package interest holds the topics for which a node wants the commands of others, as long as
// they have subscribers. The Cluster counts users itself, one Hold for each session. A topic is
// held once: sessions end in too many ways to count their subscriptions, so a review finds the
// topics that have no subscriber any more.
//
// # Locks
//
// Topics.mu is held across Cluster.Hold and Release, which never wait, and across a lookup in
// the registry, so that a topic that gets its first subscriber during a review is held:
// Topics.mu → the Cluster's locks, registry locks.
package interest
