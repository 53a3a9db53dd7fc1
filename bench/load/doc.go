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
// Limitations: Linux; ws:// only, no TLS; no compression is offered.
package load
