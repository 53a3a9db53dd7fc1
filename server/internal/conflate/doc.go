// Package conflate limits how often a session receives messages of one name. A message that
// comes too early waits, and a newer one of the name takes its place. It knows neither
// connections nor encodings.
//
// # Contract
//
// A [Table] has a slot for a session and a name from the first message on, until the interval
// of the last message that was sent has passed. [Table.Offer] sends a message at once if the
// time since the last one of the name is at least the interval of the new message. Otherwise
// the message waits for that time, and [Table.Step] sends it. A message without an interval
// is sent at once, in place of one that waits, and does not count as sent.
//
// So the newest message of a name is always the last one that is sent. The order of messages
// of different names that one Step sends to a session is that in which the names began to
// wait: replacing a message changes nothing. Messages may be late by a tick of [NewTable], and
// the next one may follow earlier by as much: of messages that come all the time, one is sent
// per interval.
//
// [Table.Flush] sends what waits for a session, in the same order, and [Table.Drop] gives it
// up; both forget the session.
//
// # Cost
//
// Offer, Flush and Drop take constant time for each message. Step takes constant time for each
// slot that is due, and sorts those of a shard. A slot costs [SlotCost] bytes, and shares the
// payload of its message with the other receivers. Slots and messages of a session cost at most
// Config.Budget; beyond it messages are sent at once, and counted in Stats.Early. A Table
// without slots needs no Step.
//
// # Locks
//
// A shard's lock → the lock of a slot of a registry.Wheel, and those of Config.Write. So what
// is sent for a name is sent in order, and nothing is left behind when Flush has returned.
package conflate
