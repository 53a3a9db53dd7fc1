// Package load is a WebSocket client for very many connections at once: one thread, one epoll, raw system
// calls, about a hundred bytes per connection, and no goroutine or buffer that belongs to one of them.
//
// It is strict. It masks every frame under a new key (RFC 6455 section 5.3) and answers every ping (section 5.5.2). It
// compares every message, in one frame or several (section 5.4), with what it must be: receiver, number, length, and each
// byte of the payload. Faults counts lost, duplicated, reordered, foreign and corrupt messages, and a fault makes the run
// an error.
//
// A Client belongs to one goroutine. Its methods Dial, Echo and Receive run its loop until they are done; Rest runs it in
// between, so that pings are answered. Package fleet runs Clients in several processes, to exceed the descriptor limit of
// one.
//
// Servers with a protocol of their own have a dialect: their clients present a token, wait until the server confirms the
// session, and find the payloads inside the server's messages. Instead of WebSockets, the connections can be streams of
// server-sent events.
//
// Limitations: Linux; TLS 1.3 only; no compression is offered.
package load
