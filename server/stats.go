package server

import "sync/atomic"

// stats are counters since the server was made. Those that are touched per
// message are touched once per batch of them where there is one.
type stats struct {
	handshakes atomic.Int64 // completed
	refused    [600]atomic.Int64
	full       atomic.Int64 // connections turned away by MaxConnections
	crowded    atomic.Int64 // by ConnectionsPerIP
	hurried    atomic.Int64 // handshakes refused for their rate
	crammed    atomic.Int64 // ordinary requests refused because there were too many
	unserved   atomic.Int64 // connections to the API refused because there were too many
	manifold   atomic.Int64 // handshakes refused by SessionsPerUser
	pressed    atomic.Int64 // connections turned away for want of memory
	aborted    atomic.Int64 // connections that ended before their request was complete
	received   atomic.Int64 // messages from clients
	pushed     atomic.Int64 // deliveries
	published  atomic.Int64
	stored     atomic.Int64 // durable pushes
	replayed   atomic.Int64 // deliveries of them
	broadcast  atomic.Int64
	pings      atomic.Int64
	dead       atomic.Int64 // sessions that missed a heartbeat
	slow       atomic.Int64 // sessions closed because their queue was full
	overRate   atomic.Int64 // sessions closed because they sent too much at once
	forced     atomic.Int64 // closing handshakes that took too long
	panics     atomic.Int64 // in hooks
	plain      atomic.Int64 // ordinary HTTP requests on the public listener
	closes     [5000]atomic.Int64
}

func (st *stats) refuse(status int) { st.refused[status].Add(1) }
func (st *stats) close(code Code)   { st.closes[code].Add(1) }

// unfinished counts a connection that never became a session.
func (st *stats) unfinished(was phase, err error) {
	if was == shaking {
		st.aborted.Add(1)
	}
}
