// Package handover moves the sessions of one process to another, without a disconnect. [Give]
// and [Take] are the two ends. They know the servers by interface only: [Source],
// [Destination], and [Executor] for what is pushed in one process and concerns the sessions
// of the other. [Link] carries messages over a Unix stream socket, in order, and with
// descriptors (SCM_RIGHTS, unix(7)). [State] is a session at rest.
//
// A message is its length, its kind, the number of its descriptors, and its payload, which
// is JSON. Unknown fields are ignored and unknown kinds are an error, so that a version can
// add fields. [Version] changes when a process could misunderstand another one; they tell
// each other theirs in the first message.
//
// # The protocol
//
// giver: the process that has the sessions; taker: the one that gets them.
//
//	giver                                     taker
//	Begin (version, clock)        ───▶
//	                              ◀───        Ready (version)
//	Descriptors …                 ───▶        keeps them, and serves none
//	Sync                          ───▶
//	                              ◀───        Synced
//	round: Descriptors …
//	Sessions …, Prepare           ───▶        makes the sessions, and serves none
//	                              ◀───        Prepared (sessions that it rejects)
//	Commit                        ───▶        serves them
//	…                                         further rounds
//	Done                          ───▶        closes descriptors that were not needed
//	                              ◀───        Finished
//	Command, Reply                ◀──▶        until one of them ends
//
// The giver owns a session until it has sent Commit, and the taker from the moment when it
// receives that. If the stream ends before, the giver serves the session again, and the taker
// closes its descriptor without a word to the client. Failed says why a process gives up.
//
// Descriptors of sessions that are open are sent before their round begins, while nothing has
// to wait, and Sync keeps them from being under way during it. Those of other connections are
// a part of the round, whose Prepared confirms them.
package handover
