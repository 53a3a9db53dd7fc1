// Package registry knows who is here: which sessions belong to a user, which follow a topic, and
// which must be looked at when (the timer wheel). It is generic in the session, so it neither casts
// nor imports the packages that own sockets and frames, and it never reads a clock.
//
// # Contract
//
// A session is a pointer to a struct with an Entry in it, and a Timer if it has deadlines; New and NewWheel
// are given the function that returns its address. Both are intrusive, and their zero value is ready. The life of a session in a Registry:
//
//	zero ── Join ──▶ here ── Leave ──▶ gone
//
// Join happens at most once and before any other call that names the session; everything after it
// may come from any goroutine. A Registry and a Wheel are safe for concurrent use. A Wheel has one
// caller of Advance at a time.
//
// The zero Limits are the safe defaults; no limit is ever off.
//
// # Snapshots
//
// AppendUser and AppendTopic return who was there at one moment. A receiver taken from a snapshot may
// have left before it is used: its owner must know how to refuse. Who serves everybody walks his own
// connections, which lie closer together than what refers to them here.
//
// Leave takes a session from its user first and then from its topics one by one, so for a moment it
// may be seen in a topic only. When Leave has returned it is nowhere.
//
// # Memory
//
// Join and Subscribe copy the names they keep, so callers may pass strings that alias a request
// buffer. A user's name is stored once for all the user's sessions, a topic's once for all its
// members. Slices returned are the caller's; names returned stay valid forever.
//
// A user costs its name, the Entry in its session (32 bytes) and 14 to 20 bytes of table, also after
// a storm has passed, since tables shrink; the locks are 20 KiB in all. A membership of a topic costs
// about 40 bytes, an armed timer nothing but the Timer in its session (24 bytes), a wheel 32 a slot.
//
// # Locks
//
// There is one lock per shard of users, per shard of topics and per slot of a wheel. All are leaves:
// while one is held no other is taken and nothing outside the package is called, except the functions given
// to New and NewWheel, which do nothing but return an address.
//
// # Limitations
//
// Join and Leave look at each session of one user, Subscribe and Unsubscribe at each topic of one
// session: they are linear in what Limits bounds. AppendTopic holds a lock while it copies all members,
// which takes about 1 ms for a million. Names are compared byte by byte: no case folding, no Unicode
// normalization. Timers are as coarse as the tick, and of equal ones the order is unspecified.
package registry
