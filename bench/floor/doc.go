// Package floor is the least that a WebSocket push server can do: bare epoll loops with the fewest system
// calls and next to no checks. Nobody should run it; it is the line that a real server is measured against.
//
// Per connection: one accept4, one epoll_ctl (edge-triggered, both directions, never touched again), one
// recv and one send for the handshake. Per small echo: one recv, one send and a share of an epoll_wait.
// Per delivery of a broadcast: one send. There is no limit, no deadline, no ping, no UTF-8 check, no
// registry and no garbage collector.
//
// Each loop owns its goroutine, its thread, its epoll descriptor, its listening socket (SO_REUSEPORT spreads
// the connections) and its connections. The loops call the kernel raw: they hold their P while they wait, so
// the process needs one P more than it has loops (for the API) and must run with GODEBUG=asyncpreemptoff=1,
// else the runtime keeps interrupting the wait. Debug is for the parent to set.
package floor
