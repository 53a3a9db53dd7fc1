package server

import (
	"strconv"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
)

// stats are counters since the server was made. Counters of messages are
// changed once for a batch of them where there is one.
type stats struct {
	handshakes    atomic.Int64 // completed
	rejected      [600]atomic.Int64
	full          atomic.Int64 // connections rejected by MaxConnections
	addressFull   atomic.Int64 // by ConnectionsPerIP
	handshakeRate atomic.Int64 // handshakes rejected for their rate
	fallbackFull  atomic.Int64 // plain requests rejected because there were too many
	manySessions  atomic.Int64 // handshakes rejected by SessionsPerUser
	shortOfMemory atomic.Int64 // connections rejected for want of memory
	aborted       atomic.Int64 // connections that ended before their request was complete
	received      atomic.Int64 // messages from clients
	pushed        atomic.Int64 // deliveries
	published     atomic.Int64
	stored        atomic.Int64 // messages stored
	replayed      atomic.Int64 // deliveries of them
	broadcast     atomic.Int64
	heldDropped   atomic.Int64 // live messages held when their session ended
	pings         atomic.Int64
	dead          atomic.Int64 // sessions that missed a heartbeat
	slow          atomic.Int64 // sessions closed because their queue was full
	overRate      atomic.Int64 // sessions closed because they sent too much at once
	forced        atomic.Int64 // closing handshakes that took too long
	panics        atomic.Int64 // in hooks, dialects, the cluster and the store
	fallback      atomic.Int64 // plain requests on the public listener
	closes        [5000]atomic.Int64
}

func (st *stats) reject(status int) { st.rejected[status].Add(1) }
func (st *stats) close(code Code)   { st.closes[code].Add(1) }

// unfinished counts a connection that never became a session.
func (st *stats) unfinished(was phase) {
	if was == readingRequest {
		st.aborted.Add(1)
	}
}

// Stats describe a server: its state now, and counters since New.
type Stats struct {
	Transport     string  `json:"transport"`
	Status        string  `json:"status"`
	UptimeSeconds float64 `json:"uptime_seconds"`

	Sessions    int64 `json:"sessions"`    // open
	Users       int   `json:"users"`       // with a session
	Topics      int   `json:"topics"`      // with a subscriber
	Connections int64 `json:"connections"` // open, those in their handshake included
	Workers     int   `json:"workers"`     // goroutines that serve ready connections
	Nodes       int   `json:"nodes"`       // of the cluster, this one included

	Handshakes      int64 `json:"handshakes"`         // completed
	Aborted         int64 `json:"aborted_handshakes"` // connections that ended before their request was complete
	Fallback        int64 `json:"plain_requests"`     // requests that were not handshakes
	Received        int64 `json:"messages_received"`  // from clients
	Pings           int64 `json:"pings"`              // heartbeats sent
	Dead            int64 `json:"missed_heartbeats"`  // sessions closed because they stayed silent
	Slow            int64 `json:"slow_consumers"`     // sessions closed because their queue was full
	Forced          int64 `json:"forced_closes"`      // closing handshakes that took too long
	Panics          int64 `json:"hook_panics"`        // recovered
	UnfinishedBytes int64 `json:"unfinished_bytes"`   // held for messages that are not complete

	Rejected  map[string]int64 `json:"rejected_by_status"` // handshakes, by HTTP status
	Limited   map[string]int64 `json:"stopped_by_limit"`   // connections, handshakes and sessions, by limit
	Delivered map[string]int64 `json:"messages_delivered"` // by kind of push
	Dropped   map[string]int64 `json:"dropped_by_reason"`  // messages that did not reach a session
	Closes    map[string]int64 `json:"closes_by_code"`     // sessions, by close code

	Opened      int64   `json:"connections_opened"`
	Closed      int64   `json:"connections_closed"`
	Broken      int64   `json:"broken_writes"`           // connections whose peer had left at a write
	Stale       int64   `json:"stale_events"`            // events for connections that had ended
	Starved     int64   `json:"accept_pauses"`           // accepting stopped for want of descriptors or memory
	Overrun     int64   `json:"workers_overrun"`         // workers started because a batch took too long
	Blocked     int64   `json:"workers_started_blocked"` // workers started because hooks block
	Saturated   int64   `json:"workers_saturated"`       // times that Config.Workers was reached
	Yielded     int64   `json:"turns_yielded"`           // connections requeued with work left
	WaitSeconds float64 `json:"wait_seconds_total"`

	// Replay is nil without a store.
	Replay *ReplayStats `json:"replay,omitzero"`

	// Waits is a histogram of the time from the poller to the last turn of a
	// batch, an upper bound of what a ready connection waited: Waits[i] counts
	// those up to WaitBound(i), the last those beyond.
	Waits []int64 `json:"-"`
}

// ReplayStats describe the delivery of stored messages: two present values, and
// counters since New.
type ReplayStats struct {
	Sessions int `json:"sessions"` // that stored messages were or are sent to
	Waiting  int `json:"waiting"`  // that wait for a worker or the store

	Replayed   int64 `json:"replayed"`   // stored messages written
	Gaps       int64 `json:"gaps"`       // announced
	Resets     int64 `json:"resets"`     // sessions whose offset belonged to another epoch
	Expired    int64 `json:"expired"`    // messages not delivered because they had expired
	Damaged    int64 `json:"damaged"`    // reads that found damage
	Refused    int64 `json:"refused"`    // sessions that the client closed with 1009 while a stored message was in flight
	Skipped    int64 `json:"skipped"`    // messages not delivered because they were refused twice
	Unanswered int64 `json:"unanswered"` // sessions that do not answer pings properly
	Dropped    int64 `json:"dropped"`    // live messages held when their session ended
	Panics     int64 `json:"panics"`     // sessions closed because of a panic
}

// WaitBound is the upper bound of Stats.Waits[i].
func WaitBound(i int) time.Duration { return netpoll.WaitBound(i) }

// Stats returns a snapshot.
func (srv *Server) Stats() *Stats {
	st, engine := &srv.stats, srv.engine.Stats()
	out := &Stats{
		Transport:       srv.engine.Transport().String(),
		Status:          srv.Status().String(),
		UptimeSeconds:   time.Since(srv.started).Seconds(),
		Sessions:        srv.sessions.Load(),
		Users:           srv.users.Users(),
		Topics:          srv.users.Topics(),
		Connections:     srv.connections.Load(),
		Workers:         engine.Workers,
		Nodes:           1,
		Handshakes:      st.handshakes.Load(),
		Aborted:         st.aborted.Load(),
		Fallback:        st.fallback.Load(),
		Received:        st.received.Load(),
		Pings:           st.pings.Load(),
		Dead:            st.dead.Load(),
		Slow:            st.slow.Load(),
		Forced:          st.forced.Load(),
		Panics:          st.panics.Load(),
		UnfinishedBytes: srv.memory.Held(),
		Rejected:        srv.rejections(),
		Limited: map[string]int64{
			"connections":        st.full.Load(),
			"connections_per_ip": st.addressFull.Load(),
			"handshake_rate":     st.handshakeRate.Load(),
			"plain_requests":     st.fallbackFull.Load(),
			"sessions_per_user":  st.manySessions.Load(),
			"memory":             st.shortOfMemory.Load(),
			"client_rate":        st.overRate.Load(),
		},
		Delivered: map[string]int64{
			"user":      st.pushed.Load(),
			"topic":     st.published.Load(),
			"broadcast": st.broadcast.Load(),
			"durable":   st.replayed.Load(),
		},
		// full: dropped from a full queue; slow: not queued, the session was closed
		// with 1013 instead; ending: queued when the connection ended.
		Dropped: map[string]int64{
			"full":   engine.Dropped,
			"slow":   st.slow.Load(),
			"ending": engine.Abandoned + st.heldDropped.Load(),
		},
		Closes:      counted(st.closes[:]),
		Opened:      engine.Opened,
		Closed:      engine.Closed,
		Broken:      engine.Broken,
		Stale:       engine.Stale,
		Starved:     engine.Starved,
		Overrun:     engine.Overrun,
		Blocked:     engine.Blocked,
		Saturated:   engine.Saturated,
		Yielded:     engine.Yielded,
		WaitSeconds: engine.WaitTotal.Seconds(),
		Waits:       engine.Waits[:],
	}
	if srv.replay != nil {
		r := ReplayStats(srv.replay.Stats())
		out.Replay = &r
	}
	if cl := srv.cluster; cl != nil {
		out.Nodes = cl.Nodes()
	}
	return out
}

// rejections of handshakes and connections, by HTTP status.
func (srv *Server) rejections() map[string]int64 {
	by := counted(srv.stats.rejected[:])
	if n := srv.engine.Stats().Rejected; n > 0 { // connections that never had a session
		by["503"] += n
	}
	return by
}

// counted returns the counters that are not 0, by index.
func counted(counters []atomic.Int64) map[string]int64 {
	by := make(map[string]int64)
	for i := range counters {
		if n := counters[i].Load(); n > 0 {
			by[strconv.Itoa(i)] = n
		}
	}
	return by
}
