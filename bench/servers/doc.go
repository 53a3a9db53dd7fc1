// Package servers starts the servers to compare, each in its own process, and uses their common interface: /echo and /ws
// on one address, a small HTTP API on another.
//
//	GET  /readyz                   200 when the server takes connections
//	POST /v1/broadcast             the body to every /ws session; answers {"receivers":N}
//	POST /v1/users/{user}/push     the body to the sessions of one user
//	POST /v1/topics/{topic}/push   the body to the sessions of one topic
//	GET  /v1/stats                 sessions, goroutines, heap_alloc_bytes, heap_inuse_bytes and whatever else
//
// A payload reaches a client as one plain message. A server with this interface can be measured without further code, see
// Target. A push server with an interface of its own is a Product.
package servers
