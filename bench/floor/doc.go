// Package floor is a minimal WebSocket push server: bare epoll loops with the fewest system calls and almost no checks.
// It is not for production; it shows how far any server could get.
//
// Per connection: one accept4, one epoll_ctl (edge-triggered, both directions, never touched again), one
// recv and one send for the handshake. Per small echo: one recv, one send and a share of an epoll_wait. Per delivery of a
// broadcast: one send. It has no limits, deadlines, pings, UTF-8 checks, registry or garbage collection.
//
// Each loop owns its goroutine, its thread, its epoll descriptor, its listening socket (SO_REUSEPORT spreads
// the connections) and its connections. The loops make raw system calls: they hold their P while they wait, so
// the process needs one P more than it has loops (for the API) and must run with GODEBUG=asyncpreemptoff=1,
// or the runtime keeps interrupting the wait. The parent sets that with Debug.
package floor
