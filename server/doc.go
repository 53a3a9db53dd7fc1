// Package server is the push server: handshakes, sessions, heartbeats, pushes and
// the HTTP API. It joins package netpoll, which moves bytes, package frame, which
// knows what they mean, and package registry, which knows who is here.
//
// A [Server] stands alone, with listeners of its own (Config.Listen, Config.API),
// or inside a program: [Server.Mount] makes an [Endpoint] a handler for net/http,
// and so for gin and chi, and for fasthttp. Either way a connection ends up as one
// [Session] that owns its descriptor.
//
// # Contract
//
// The hooks of one session never overlap, except OnTimer, which may still run when
// OnClose is called. OnOpen is the first, OnClose the last, and both come exactly
// once for a session that was open; one that was closed before, while it was being
// answered, has neither. A hook
// may block: others are served meanwhile, up to Config.Workers. A panic in a hook
// ends that session with 1011, is logged with its stack, and harms nobody else.
//
// Everything that sends, from Session.Send to Server.Broadcast, may be called from
// any goroutine and never blocks. "Sent" means written to the socket or queued for
// it. A message is one WebSocket message, byte for byte, with no envelope; nobody
// checks that what is sent as Text is UTF-8. What one goroutine sends to a session
// arrives in that order.
//
// While a hook runs and more messages of the same read wait behind it, what is sent
// to that session is gathered, and leaves when the read is dealt with or 16 KiB have
// come together.
//
// # Borrowed memory
//
// The payload given to OnMessage may be used, and modified, until the hook returns.
// What is given to Send, Push, Publish and Broadcast is copied before they return.
// A frame.Prepared is shared by all its receivers, for ever.
//
// # The life of a session
//
//	readingRequest ── deciding ── (identifying ── admitting) ── open ── closing ── lingering ── over
//
// It only ever moves to the right, and may leave phases out (session.go). Shaking,
// the request is gathered, up to Config.MaxHeader and Config.HandshakeTimeout; the
// clock and Shutdown may reject it. Answering, it is complete, and only the holder
// of the read turn decides on it, so that no client gets two answers. Identifying, an
// Identifier that may block has it, on a goroutine that opens the session afterwards
// with the rights of the read turn (identify.go). The session is in the registry before it is open,
// and its answer is corked until then, so nothing that is pushed comes before it.
// Closing, our close frame is out and theirs is awaited; lingering, all is said and
// the peer is to end the stream. Both are bounded by Config.CloseTimeout.
//
// One timer serves them all. Deadlines are lazy: bytes that arrive only store the
// coarse time, and the timer looks at it when it fires (clock.go).
//
// # Limits
//
// Nothing a peer does is without a bound: connections in all (MaxConnections), from
// one address (ConnectionsPerIP), of one user (SessionsPerUser), topics of one
// session, handshakes a second, the bytes of a request, of a message, and of a
// queue, what a session may send a second (Endpoint.Rate), and memory, of which the
// last fifth before GOMEMLIMIT is kept for those who are connected. Each is on by
// default, can be set, and counts what it stops. They hold for mounted endpoints too,
// from the moment when the other server manualClock a request over.
//
// # Stored messages
//
// With Config.Inbox, durable messages are stored before they are sent, by package
// inbox. A session has a mailbox while stored messages are on their way to it, and
// always if it follows a durable topic or speaks fanfare.v1 (dialect.go): about 700
// bytes, and 250 for each such topic. The mailbox has tracks: the user's inbox, and
// the topics. Within a track the order is that of offsets, of whatever was stored
// before or comes while it is read: who stores a message sends it only if its link
// names the last one that was sent, and else leaves that to whoever reads.
//
// Behind messages goes a ping, whose pong acknowledges them for a plain client. At
// most half of Config.QueueBytes is on the way to a client that has not answered.
//
// When a user connects, everything else that is sent to the connection is held until
// what waited is on its way, so nothing newer comes before it: at most half of
// QueueBytes, and for a second or so (hold.go). At either bound, and when the store
// does not answer, what was held is sent, ahead of the rest. Nothing is dropped, and
// hello and other answers of fanfare.v1 do not wait. A connection that ends takes
// what was held with it, as it does what is queued.
//
// The place of a user in a topic is stored when the user follows it first and with
// every acknowledgement: about 50 µs of CPU each, so one message for 100,000
// followers is followed by 5 s of work. Whoever follows for the first time gets
// what is stored from that moment on; with an outside NATS, from 100 ms before, so
// that its clock may differ by as much.
//
// A durable line of a batch costs 35 to 43 µs of CPU, embedded and with files, the HTTP
// client's part included; two cores store 28,000 to 42,000 a second over one to four
// connections (go test -run - -bench APIBatchDurable -benchtime 100000x ./server).
// The lines that are there, a few hundred, are stored at the same time, those for
// one user one after another. 100,000 logins, one in ten with a message, took 111 µs
// of CPU each with the client's part, and 1,412 waited for a look at their inbox at
// the most (TestManyLogins).
//
// Clocks: a message expires by the servers' clocks, its age is that of NATS. What
// a client's clock says is never asked.
//
// # Locks
//
// All are leaves: while one is held no other is taken, and nothing outside of the
// package that owns it is called. There is no order to keep.
//
// # Shutdown
//
// Shutdown works in the order written there: not ready, no new connections, sessions
// closed with 1001 in paced batches and requests answered 503, what is left cut off,
// API, engine, timers. It does not wait for a hook that outlasts its ctx.
//
// # Limitations
//
// The methods of Server reach the connections of this process, those for durable
// messages and the API those of all nodes. HTTP/1.1 handshakes only. Timers are as coarse as a tick, 100 ms. A name that is
// subscribed for a user is so for the connections that the user has at that moment.
//
// A ping that comes between our close frame and the client's is not answered. RFC
// 6455, 5.5.2 asks for it, and 5.5.1 forbids only data frames there; but a peer
// "discards any further data" behind a close frame (1.4), and Chromium takes whatever
// comes there for an error, and the clean end for 1006. So the close frame is the last
// that anybody gets (netpoll.Conn.Seal, and pong in data.go).
package server
