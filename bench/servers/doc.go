// Package servers starts the servers that are compared, each in a process of its own, and speaks to their
// common interface: /echo and /ws on one address, a small HTTP API on another.
//
//	GET  /readyz                   200 when the server takes connections
//	POST /v1/broadcast             the body to every /ws session; answers {"receivers":N}
//	POST /v1/users/{user}/push     the body to the sessions of one user
//	POST /v1/topics/{topic}/push   the body to the sessions of one topic
//	GET  /v1/stats                 sessions, goroutines, heap_alloc_bytes, heap_inuse_bytes and whatever else
//
// A payload reaches a client as one plain message. That is the whole adapter: a server that speaks this is
// measured without any code of its own, see Remote.
package servers
