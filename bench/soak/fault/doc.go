// Package fault tests the guarantees of fanfare under faults, in the manner of
// Jepsen: it kills, freezes and disconnects real processes, fills their disks,
// damages and replaces what they stored, and checks the history of what arrived.
//
// # The cluster
//
// [Run] starts three NATS servers with JetStream and several fanfare processes.
// Producers push numbered durable messages to users, each through a random node,
// and repeat a push until it is accepted. Users have one or two devices: plain
// ones, which only answer pings, and ones with fanfare.v1, which acknowledge some
// messages and resume from the last offset they saw. All of them connect, leave
// with or without a close frame, sleep and wake with a clock that has jumped, and
// connect to another node.
//
// Meanwhile two nemeses cause faults, one on NATS and one on the nodes. A cut link
// drops packets: in network namespaces with blackhole routes, or, without root and
// iproute2, in proxies between all processes, which can cut both directions only.
// The disk of one NATS server is small and is filled up; that needs root, too.
//
// # The store
//
// Other nemeses have servers of their own, with the same users, a third of whom
// connect only at the end. They harm the files of an embedded store, also while it
// runs, have its disk not answer, restore a backup, remove the storage of an outside
// NATS, lower its max_payload, or put a proxy between clients and server that
// answers pings and then fails. [Nemeses] lists all of them. [MeasureCost] is apart: it measures what pushes cost as a cluster grows.
//
// # The check
//
// Then Run ends all faults, starts all processes, and checks the history. An
// accepted message must arrive, or its loss must be announced: by a server that
// does not start and says how many messages are missing, by the epoch in the
// answer to a push, or by the documentation, for a restored backup and for plain
// sessions through a proxy that answers pings. A device with fanfare.v1 that lacks
// a message must have received a gap, too. Everything else is a violation: a
// message out of order, or twice in one connection; a message for another user, or
// one that was never pushed; a gap although nothing can be missing; two offsets of
// one message; a server that does not start and does not say what to do; a panic
// or a race in a log. Duplicates after a reconnect are counted. The check is
// tested with made-up histories. A device with fanfare.v1 must receive every message
// itself, since it resumes from its own offset; of the plain devices of a user, one
// must receive it.
//
// # Presence
//
// The nemesis presence has a cluster with a webhook that reports who is online. Users come,
// go and move between the nodes while all nodes but the first are killed, stopped and
// cut off, from NATS and from their clients, two faults at a time; the backend fails
// now and then after it has recorded what it was sent. At the end the last event of
// each user must be true, and every node must answer the same; the events of a user
// must alternate, repeated ones apart; and users of the first node, who stay
// connected, must have been online all the time.
//
// # Limitations
//
// SIGKILL is not a power failure: the kernel keeps what a process wrote. The seed
// determines the faults, not the scheduling of the processes. Only the clocks of
// clients jump; that of a node does only in so far as a stopped process continues later,
// and the model of server/internal/presence has jumps of all kinds. Everything runs on one machine.
package fault
