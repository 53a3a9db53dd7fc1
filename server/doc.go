// Package server is the push server: handshakes, sessions, heartbeats and pushes. It
// joins package netpoll, which moves bytes, package frame, which knows what they mean,
// and package registry, which knows whose sessions are connected.
//
// A [Server] has a listener of its own (Config.Listen, [Server.Serve]), or is part of a
// program: [Server.Mount] makes an [Endpoint] a handler for net/http, and so for gin and
// chi; package fasthttpmount does so for fasthttp. Either way a connection becomes one
// [Session] that owns its descriptor. Packages api, auth, inbox, cluster and console add
// to it what their names say.
//
// # Contract
//
// The hooks of one session never overlap, except OnTimer, which may still run when
// OnClose is called. OnOpen is the first, OnClose the last, and each comes exactly once
// for a session that was open. A hook may block, up to Config.Workers at once. A panic in a hook, an Identifier or a Dialect ends that session only,
// with 1011, is logged with its stack and counted.
//
// Everything that sends may be called from any goroutine. Methods of Session never block.
// Those of Server wait for the other nodes of a cluster, half a second at most; without a
// cluster they do not block either. A receiver is a session that the message was written
// or queued to. What one goroutine sends to a session arrives in that order.
//
// # Borrowed memory
//
// The payload given to OnMessage may be used, and modified, until the hook returns. What
// is given to Send and NewMessage is copied. A [Message] is shared by its receivers and
// never modified.
//
// # The life of a session
//
//	readingRequest ── deciding ── … ── open ── closing ── lingering ── ended
//
// A session only moves to the right (session.go). Only the holder of the read turn
// answers a request, so that no client gets two answers. The session is in the
// registry before it is open, and its answer is corked until then, so that no push
// precedes it. Closing, the client's close frame is awaited; lingering, the end of its
// stream; both are bounded by Config.CloseTimeout. One timer serves all deadlines.
//
// # Limits
//
// Everything a peer does is bounded: connections, handshakes, the bytes of a request, of
// a message and of a queue, rates, topics, memory. Each limit is on by default and counts
// what it stops (Stats.Limited). SessionsPerUser holds for each node of a cluster.
//
// # Stored messages
//
// With Config.Store, durable messages are stored before they are sent, and replayed to
// sessions that connect (package internal/replay).
//
// # Locks
//
// All are leaves but one: interest.mu → Cluster, whose methods do not block.
//
// # Limitations
//
// HTTP/1.1 handshakes only. Timers are as coarse as a tick, 100 ms. A topic subscribed
// for a user holds for the sessions that the user has at that moment. A ping between our
// close frame and the client's is not answered (RFC 6455 section 5.5.2 asks for it): the
// close frame is the last that a client gets, as Chromium requires.
package server
