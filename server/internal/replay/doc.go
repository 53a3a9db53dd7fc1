// Package replay delivers the stored messages of users and durable topics to their
// sessions: what was stored while they were away, and then each message as it is
// stored.
//
// It knows a store.Store and a [Receiver], which is a session as this package needs
// it. A [Service] has a session (session.go) for each receiver that needs one, with a
// stream (stream.go) for its inbox and for each durable topic. The state machine of a
// session and its transition table are in state.go.
//
// # Contract
//
// Within a stream messages come in the order of their offsets. Each is delivered at
// least once, or its absence is announced by a gap. A session gets what is stored while
// it is open, also if another device of the user acknowledges it first; what was stored
// earlier it gets unless the user has acknowledged it, and a first-time subscriber of a topic
// does not. A subscriber that rewinds gets the last messages instead, acknowledged or not. What Notify reports that a session gets, it gets, whenever that was stored: the
// notice may have come late. A position is stored only for
// messages that were written to the connection: after a pong to the ping that followed
// them, or an explicit acknowledgement of an offset that was sent. How many positions in
// topics are stored for a user and for an address is bounded (quota.go).
//
// An offset belongs to an epoch. If the store says that an offset does not continue in
// its present epoch, the session gets all that is there, with a gap; this holds for the
// start that a client names and for sessions that were connected. Acknowledgements for
// an earlier epoch are ignored.
//
// Stored messages use at most half of a session's outbound queue, and at most a window
// of them is unacknowledged; a larger message goes alone. Live messages offered to
// [Service.Hold] follow the older stored ones, within the bounds stated there. A Begin
// of the inbox precedes everything else, and nothing of a topic is written after its
// [Service.Unsubscribe].
//
// A receiver that has nothing stored, no durable topic and no explicit acknowledgements
// costs one look at the store, and has no session after it; [Service.AttachEmpty] spares
// both if the store knows that it has nothing. At most Config.Workers
// goroutines wait for the store; a storm of logins is served in turn.
//
// A message for which clients of a user closed twice with code 1009, or that
// Receiver.Encode failed for twice, is skipped for that user (failures.go). A client
// that answers pings with another payload acknowledges nothing, and gets its messages as
// the outbound queue drains: closing it would have it come back for the same messages.
//
// The store must call the function of OnRecover also after its epoch has changed, and
// Acked must return positions of the present epoch only.
//
// # Borrowed memory
//
// The strings of a Start and a Subscription are copied. A Notice is shared and immutable
// from the first Notify on. The payload of Receiver.Ping is borrowed.
//
// # Limitations
//
// A position belongs to a user: what one session acknowledges is read for all. Of two
// sessions that subscribe a topic for the first time at once, the acknowledgement of one
// covers the other. A first-time subscriber without Subscription.Remember that gets no
// message has no position. What was stored and acknowledged just before a session opened is
// delivered to it again if the store cannot tell whether that was earlier. A proxy that terminates WebSocket answers
// pings itself; use AckNone or AckExplicit there. The message that made a client close
// with 1009 is guessed: the largest in flight. Failures are counted in memory.
package replay
