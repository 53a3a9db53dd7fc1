// Package replay delivers the stored messages of users and durable topics to their
// sessions: what was stored while they were away, and then each message as it is
// stored.
//
// It knows a store.Store and a [Receiver], which is a session as this package needs
// it. A [Service] has a session (session.go) for each receiver that needs one, and
// that has a stream (stream.go) for its inbox and for each durable topic. The state
// machine of a session and its transition table are in state.go.
//
// # Contract
//
// Within a stream messages come in the order of their offsets. Each is delivered at
// least once, or its absence is announced by a gap. A position is stored only for
// messages that were written to the connection: after a pong to the ping that
// followed them, or an explicit acknowledgement of an offset that was sent.
//
// An offset belongs to an epoch. If the store says that an offset does not continue
// in its present epoch, the session gets all that is there, with a gap; this holds
// for the start that a client names and for sessions that were connected.
//
// Stored messages use at most half of a session's outbound queue, and at most a
// window of them is unacknowledged; a larger message goes alone. Live messages
// offered to [Service.Hold] follow the older stored ones, within the bounds stated
// there. A Begin of the inbox precedes everything else, and nothing of a topic is
// written after its [Service.Unsubscribe].
//
// A receiver that has nothing stored, no durable topic and no explicit
// acknowledgements costs one look at the store, and has no session after it. At most
// Config.Workers goroutines wait for the store; a storm of logins is served in turn.
//
// A client that answers pings with another payload acknowledges nothing, is logged
// and counted once, and gets its messages as the outbound queue drains: closing it
// would have it come back for the same messages. A message that clients of a user
// refused twice with close code 1009, or for which Receiver.Encode failed twice, is
// skipped for that user (refusals.go).
//
// The store must call the function of OnRecover also after its epoch has changed,
// and Acked must return positions of the present epoch only.
//
// # Borrowed memory
//
// The strings of a Start and a Subscription are copied. A Notice is shared and
// immutable from the first Notify on. The payload of Receiver.Ping is borrowed.
//
// # Limitations
//
// A position belongs to a user, not to a device: what one device acknowledges is
// read for all. Two sessions that subscribe a topic for the first time at once may
// start at different offsets, and the acknowledgement of the later one covers both.
//
// A first-time subscriber without Subscription.Remember that gets no message has no
// position, and misses what is stored while it is away.
//
// A pong says that a WebSocket implementation has read a message. A proxy that
// terminates WebSocket answers pings itself; use AckNone or AckExplicit there.
//
// The message that made a client close with 1009 is guessed: the largest in flight.
// Counts of refusals are kept in memory, for 4,096 messages.
package replay
