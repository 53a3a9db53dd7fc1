// Package keep lets sessions survive the death of their server's process: SIGKILL, a panic, a
// lack of memory. A keeper is another process, its parent, which has a duplicate of the
// descriptor of each session and a description of it.
//
//	keeper                                     server
//	NewWatch: memory, and the ends of a socket
//	starts the process               ───▶      Serve, before Server.TakeOver
//	                                 ◀───      sessions that were opened, have changed or ended;
//	                                           listeners
//	                                           dies
//	Sessions.Collect: which were at rest
//	NewWatch, starts the next one    ───▶      Serve
//	Sessions.HandOver                ───▶      Server.TakeOver
//
// # Contract
//
// A session that was at rest when its process died goes on in the next one: the next byte in
// either direction begins a message. Whether it was is read from marks in memory that both
// processes share ([fanfare/netpoll.Mark]): the server is asked nothing, and no instruction at which it
// dies makes it look at rest. Any other session is closed, with 1012 if a close frame can be
// understood.
//
// The server describes a session some milliseconds after it has been opened, or has changed; a
// session that has just done so is not at rest. Sessions with TLS, a compression context or Data
// are not kept.
//
// # Limitations
//
// Linux only. A session whose next process dies before it was described again is lost.
package keep
