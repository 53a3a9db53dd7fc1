// Package registry keeps the sessions of each user and the subscribers of each topic ([Registry]), and
// the timers of sessions ([Wheel]). It is generic in the type of a session, so it does not import the
// packages that own sockets and frames, and it never reads a clock.
//
// # Contract
//
// A session is a pointer to a struct with an [Entry] in it, and a [Timer] if it has deadlines. [New] and
// [NewWheel] take the function that returns the address of that field. The zero values of Entry and Timer
// are ready for use. A session goes through a Registry once:
//
//	zero ── Join ──▶ joined ── Leave ──▶ left
//
// Join succeeds at most once for a session, and comes before any other call that names the session. After
// that all methods of Registry and Wheel may be called from any goroutine, except that there is one call of
// Advance at a time.
//
// Zero Limits mean the defaults. No limit can be turned off.
//
// # Snapshots
//
// AppendUser and AppendTopic return the sessions of one moment. A session in the result may leave before
// the caller uses it, so sending to a session that has left must be harmless. There is no call that
// returns all sessions: to reach every connection, walk the structure that owns the connections.
// AppendUsersAfter and AppendTopicsAfter return names, a page at a time, and look at all of them for each.
//
// Leave removes a session from its user first and then from its topics one by one, so for a moment
// AppendTopic may return a session that AppendUser does not. After Leave returns neither does.
//
// # Memory
//
// Join and Subscribe copy the names that they keep, so callers may pass strings that alias a request
// buffer. The sessions of a user share one copy of the user's name, the subscribers of a topic share one
// copy of the topic's name. Slices returned belong to the caller; names returned stay valid.
//
// Lookups, Schedule and Advance do not allocate, and a timer needs no memory except the Timer in its
// session. Tables shrink when sessions leave.
//
// # Locks
//
// There is one lock per shard of users, per shard of topics and per slot of a wheel. All locks are
// leaves: while one is held, no other lock is taken and nothing outside the package is called, except the
// functions given to New and NewWheel, which only return an address.
//
// # Limitations
//
// Join and Leave visit each session of one user, Subscribe and Unsubscribe each topic of one session:
// they are linear in what Limits bounds. AppendTopic holds a lock while it copies the subscribers of the
// topic. Names are compared byte by byte, without case folding or Unicode normalization. A timer fires at
// a multiple of the tick, and the order of timers with the same tick is unspecified.
package registry
