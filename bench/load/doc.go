// Package load is a WebSocket client for very many connections at once: one thread, one epoll, raw system
// calls, about a hundred bytes per connection, and no goroutine or buffer that belongs to one of them.
//
// It is a measuring instrument, so it is strict where a client could be lax. Every frame that it sends is
// masked under a fresh key (RFC 6455 section 5.3) and every ping is answered (section 5.5.2). Every message
// that it receives, in one frame or in several (section 5.4), is compared, whole, with what it must be: whose
// it is, its number, its length, each byte of its filling. What is lost, doubled, reordered, foreign or corrupt
// is counted in Faults, and a fault makes the run an error.
//
// A Client belongs to one goroutine. Its methods Dial, Echo and Receive run its loop until their work is
// done; Rest runs it in between, so that pings are answered while nothing is measured. Several processes with
// a Client each (package fleet) go past the descriptor limit of one.
//
// Limitations: Linux; ws:// only, no TLS; no compression is offered.
package load
