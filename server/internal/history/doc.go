// Package history reads the stored messages of a user or a durable topic for callers that
// have no session, such as an HTTP API, and has them wait for the next message.
//
// # Contract
//
// Read acknowledges nothing. Page.Next and Page.Epoch are where the next Read goes on: a
// caller that follows them gets every message once, or a gap.
//
// Await has no goroutine of its own: the caller waits. What wakes it is Stored, which is
// called for each message that is stored on any node. Notices may get lost between nodes; so
// Await also reads after Config.Settle, and once more when the time has passed. Without a
// caller that waits, Stored costs one atomic load.
//
// End has all callers of Await return with an empty page, until Resume.
//
// # Locks
//
// Service.mu is a leaf.
package history
