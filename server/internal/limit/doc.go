// Package limit bounds what a server spends on others: connections per address,
// handshakes and messages per second, and memory.
//
//   - Bucket is a token bucket; Meter is the pair of buckets of one session, and
//     Gate is a bucket that goroutines share. RetryAfter tells clients that were rejected
//     at a rate when to come back.
//   - Sources counts connections and handshakes per address; Proxies finds the
//     address of a client that comes through a load balancer.
//   - Memory decides whether new connections are accepted, and how much memory
//     unfinished requests and messages may hold, one by one and in sum.
//   - Pool runs functions that may block on a bounded number of goroutines.
//   - Descriptors is the number of connections that the descriptor limit permits.
//
// Nothing here knows sessions, configuration or clocks. Time enters as an argument,
// in ticks since the server started: a read of a clock per message would cost more
// than the limit itself. Tick 0 means "never"; callers begin with 1. Ticks wrap
// after 13 years.
//
// A Bucket and a Meter belong to one goroutine at a time. Everything else may be
// used by several.
package limit
