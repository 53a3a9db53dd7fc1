// Package server is the push server as a library: WebSocket handshakes, sessions,
// heartbeats, and messages to a user, a topic, or every session. It joins package
// netpoll, which moves bytes, package frame, which knows what they mean, and package
// registry, which finds the receivers.
//
// A [Server] has a listener of its own (Config.Listen, or [Server.Serve]), or is part
// of a program: [Server.Mount] makes an [Endpoint] a handler for net/http, and package
// fasthttpmount one for fasthttp. An Endpoint has an [Identifier], which says whose
// session a connection is, [Dialect] values, which say what is spoken on it, and
// [Hooks], which are the application. Packages below this one add the rest, among them api,
// auth, inbox, cluster and sse.
//
// # Contract
//
// Hooks of one session never overlap, except OnTimer, which may still run when OnClose
// is called. OnOpen is the first and OnClose the last, once each, for every session
// that was open. A hook may block: other sessions are served meanwhile, up to
// Config.Workers. A panic in a hook or a dialect ends at most its session, with 1011;
// it is logged with its stack and counted.
//
// Methods that send, from [Session.Send] to [Server.Broadcast], may be called from any goroutine
// and do not wait for clients; with a cluster, those of Server wait for other nodes, see [Delivery]. A receiver is a session that the message was written
// or queued to. Messages that one goroutine sends to a session arrive in order; live
// messages follow the stored ones that are on their way when a session opens. If the
// outbound queue is full, Config.UserFull and Config.TopicFull say what happens.
//
// Everything that a client can use up is bounded, by default, and counted: see Config,
// [Rate] and frame.Rules. Deadlines are as coarse as 100 ms.
//
// # Borrowed memory
//
// The payload given to OnMessage and Dialect.Receive may be used and modified until
// they return. Payloads given to Send, NewMessage and Begin are copied. A [Message] is
// shared by all its receivers and never modified.
//
// # Sessions
//
// The phases of a session, in session.go, only move forward: its request is read,
// checked, and identified, perhaps on another goroutine; it is open; its close frame is
// sent; nothing more is sent; it has ended. It is in the registry before it is open, and
// its answer is corked until then, so that a push follows the answer.
//
// # Locks
//
// Locks are leaves: the holder calls nothing outside of the package that owns the lock.
// The exceptions: Server.moving → all others; identification.mu → bySession.mu;
// identification.mu → a session's lock in package replay → extension.mu, those of packages
// interest and conflate, netpoll.Conn, registry locks, and those of the Store, in Epoch and Ack; that of
// package interest → registry locks and the Cluster's, in Hold and Release, which must not call
// the Server; that of package conflate → netpoll.Conn, that of package receipt, and registry
// locks; that of package gate → the Store's, in Epoch and Begin; the locks of events and of package
// roster → those and the Observer's; Server.changing → Server.mu. A Logger may be called with any held.
//
// # Limitations
//
// Handshakes are HTTP/1.1 only. SubscribeUser concerns the sessions that the user has
// at that moment. SessionsPerUser holds for each node of a cluster. A ping that comes after
// our close frame is not answered: RFC 6455, 5.5.2 asks for it, but a peer "discards any
// further data" after a close frame (1.4), and browsers take an answer for an error.
package server
