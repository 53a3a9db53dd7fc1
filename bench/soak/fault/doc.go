// Package fault tests what fanfare promises while everything goes wrong, in the
// manner of Jepsen: with real processes, which it kills, freezes, cuts off from
// each other and gives disks that are full, and a judge of what arrived.
//
// # The test
//
// [Run] starts three NATS servers with JetStream and several fanfare processes.
// Messages with numbers are pushed to users, durable, each through a random node
// and again until it is accepted, the next one then. Users have one or two
// devices: plain ones, which only answer pings, and those of fanfare.v1, which
// acknowledge now and then and resume from the offset that they saw last. All
// connect, leave with or without a word, sleep and wake with a clock that has
// jumped, and come back to another node.
//
// Meanwhile two nemeses are at work, one on NATS and one on the nodes. A link that
// is cut swallows packets, in network namespaces with routes to nowhere; where
// those cannot be made (they want root and iproute2), proxies between all
// processes stop passing bytes on, and cut both ways only. The disk of one NATS is
// small and is filled to the last byte; it wants root, too.
//
// Then all links are healed and all processes started, and the judge says
// what was wrong: a message that was accepted and did not arrive at a user who was
// connected; one out of order after dropping doubles; one for somebody else, or
// that was never pushed; a gap told to a client, since nothing may be missing; a
// message at two offsets; a panic or a race in a log. Doubles are counted. The
// judge is tested with liars.
//
// A device of fanfare.v1 must get everything itself, since it resumes from its own
// offset. Of the other devices of a user it is enough if one gets it.
//
// # Cost
//
// [MeasureCost] measures what pushes cost as nodes become more.
//
// # Limitations
//
// SIGKILL is no power cut: what a process wrote, the kernel has. The seed fixes
// what is done, not when the processes do what. A clock that jumps is that of a
// client, whose timers all fire at once; those of servers do not jump. Everything
// runs on one machine.
package fault
