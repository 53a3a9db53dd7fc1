// Package presence decides, for all nodes of a cluster together, which users are online,
// which topics are occupied, and which members they have. It is pure: time, messages and the answers of a log enter as
// arguments, and what is to be done comes out as [Effects].
//
// # How it works
//
// One node leads. Every other node is a member: it sends the leader what it holds, in numbered
// parts that the leader acknowledges. The leader compares what the nodes hold with what was
// reported, and writes a [Change] to a log for each difference. The log accepts a write only
// if nobody else has written since, so that of two nodes that both believe to lead one fails,
// and steps down. Whoever is elected reads the log first. So the changes of a name alternate,
// whatever nodes believe.
//
// # Time
//
// A node counts its own ticks. Each advances its clock by what has passed, but never by more
// than [MaxStep], and not while it is disconnected. So neither a jump of a clock nor a process
// that was stopped, nor an outage of the network, makes another node look dead: a node is dead
// if nothing arrives from it while this one receives. No time of another node is compared.
//
// # Absence
//
// A name that no node holds is reported as absent when the grace period has passed, and then
// only after every live member has answered a round that began later: an answer says that the
// leader has all that the member knew. So a user who has reconnected elsewhere is not reported
// as absent because the news was late. A member that is silent for [Lease] is dead, and holds
// nothing; its users have the grace period from its last sign of life.
package presence
