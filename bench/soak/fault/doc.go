// Package fault tests the guarantees of fanfare under faults, in the manner of
// Jepsen: it kills, freezes and disconnects real processes, fills their disks, and
// checks the history of what arrived.
//
// # The test
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
// Then Run heals all links, starts all processes, and checks the history. These are
// violations: an accepted message that did not arrive at a connected user; a
// message out of order, apart from duplicates; a message for another user, or that
// was never pushed; a gap reported to a client; a message with two offsets; a panic
// or a race in a log. Duplicates are counted. The check is tested with made-up
// histories.
//
// A device with fanfare.v1 must receive every message itself, since it resumes from
// its own offset. Of the plain devices of a user, one must receive it.
//
// # Cost
//
// [MeasureCost] measures what pushes cost as a cluster grows.
//
// # Limitations
//
// SIGKILL is not a power failure: the kernel keeps what a process wrote. The seed
// determines the faults, not the scheduling of the processes. Only the clocks of
// clients jump. Everything runs on one machine.
package fault
