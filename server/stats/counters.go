package stats

import (
	"strconv"
	"sync/atomic"

	"fanfare/frame"
	"fanfare/netpoll"
)

// Counters are counters since the server was made. Counters of messages are
// changed once for a batch of them where there is one.
type Counters struct {
	Handshakes    atomic.Int64 // completed
	Rejected      [600]atomic.Int64
	Full          atomic.Int64 // connections rejected by MaxConnections
	AddressFull   atomic.Int64 // by ConnectionsPerIP
	HandshakeRate atomic.Int64 // handshakes rejected for their rate
	FallbackFull  atomic.Int64 // plain requests rejected because there were too many
	IdentifyFull  atomic.Int64 // handshakes rejected by IdentifierQueue
	Unspoken      atomic.Int64 // handshakes completed without one of the sub-protocols that were offered
	Refreshes     atomic.Int64 // sessions refreshed
	ManySessions  atomic.Int64 // handshakes rejected by SessionsPerUser
	ShortOfMemory atomic.Int64 // connections rejected because memory is short
	ProxyHeaders  atomic.Int64 // PROXY protocol headers that were rejected
	Aborted       atomic.Int64 // connections that ended before their request was complete
	Received      atomic.Int64 // messages from clients
	Pushed        atomic.Int64 // deliveries
	Published     atomic.Int64
	Replayed      atomic.Int64 // deliveries of them
	Broadcast     atomic.Int64
	ReceiptPings  atomic.Int64 // pings sent after messages with a receipt
	ReceiptPongs  atomic.Int64 // pongs that confirmed one
	HeldDropped   atomic.Int64 // live messages held when their session ended
	RatedDropped  atomic.Int64 // messages with an interval that waited when their session ended
	Pings         atomic.Int64
	Dead          atomic.Int64 // sessions that missed a heartbeat
	Slow          atomic.Int64 // sessions closed because their queue was full
	OverRate      atomic.Int64 // sessions closed because they sent too much at once
	Forced        atomic.Int64 // closing handshakes that took too long
	Panics        atomic.Int64 // in hooks, dialects, Config.Fallback, the cluster and the store
	Fallback      atomic.Int64 // plain requests on the public listener
	Closes        [5000]atomic.Int64
	Latency       [kinds]Latency
	Publishes     [publishes]atomic.Int64 // of clients
	Requests      [requests]atomic.Int64
}

// Reject counts a handshake or connection that is rejected with an HTTP status.
func (st *Counters) Reject(status int) { st.Rejected[status].Add(1) }

// Close counts a session that has ended with a close code.
func (st *Counters) Close(code frame.StatusCode) { st.Closes[code].Add(1) }

// Snapshot returns what the counters, and those of the engine, say. The caller adds the rest.
func (st *Counters) Snapshot(engine netpoll.Stats) *Stats {
	out := &Stats{
		Workers:       engine.Workers,
		Handshakes:    st.Handshakes.Load(),
		Aborted:       st.Aborted.Load(),
		Unspoken:      st.Unspoken.Load(),
		Refreshes:     st.Refreshes.Load(),
		Fallback:      st.Fallback.Load(),
		Received:      st.Received.Load(),
		ReceivedBytes: engine.Received,
		SentBytes:     engine.Sent,
		QueuedBytes:   engine.Queued,
		Pings:         st.Pings.Load(),
		Dead:          st.Dead.Load(),
		Slow:          st.Slow.Load(),
		Forced:        st.Forced.Load(),
		Panics:        st.Panics.Load() + engine.Panics,
		ProxyErrors:   st.ProxyHeaders.Load(),
		Rejected:      st.rejections(engine.Rejected),
		Limited: map[string]int64{
			"connections":        st.Full.Load(),
			"connections_per_ip": st.AddressFull.Load(),
			"handshake_rate":     st.HandshakeRate.Load(),
			"identifications":    st.IdentifyFull.Load(),
			"plain_requests":     st.FallbackFull.Load(),
			"sessions_per_user":  st.ManySessions.Load(),
			"memory":             st.ShortOfMemory.Load(),
			"client_rate":        st.OverRate.Load(),
		},
		Delivered: map[string]int64{
			"user":      st.Pushed.Load(),
			"topic":     st.Published.Load(),
			"broadcast": st.Broadcast.Load(),
			"durable":   st.Replayed.Load(),
		},
		// full: dropped from a full queue; slow: not queued, the session was closed
		// with 1013 instead; ending: queued when the connection ended.
		Dropped: map[string]int64{
			"full":   engine.Dropped,
			"slow":   st.Slow.Load(),
			"ending": engine.Abandoned + st.HeldDropped.Load() + st.RatedDropped.Load(),
		},
		Publishes:    byName(st.Publishes[:], publishResults[:]),
		Requests:     byName(st.Requests[:], requestResults[:]),
		Conflated:    engine.Conflated,
		ReceiptPings: st.ReceiptPings.Load(),
		ReceiptPongs: st.ReceiptPongs.Load(),
		Closes:       counted(st.Closes[:], closeCodes),
		Delivery:     make(map[string]Histogram),
		Opened:       engine.Opened,
		Closed:       engine.Closed,
		Broken:       engine.Broken,
		Stale:        engine.Stale,
		Starved:      engine.Starved,
		Overrun:      engine.Overrun,
		Blocked:      engine.Blocked,
		Saturated:    engine.Saturated,
		Yielded:      engine.Yielded,
		Waits:        waits(engine),
	}
	for k := range st.Latency {
		out.Delivery[Kind(k).String()] = st.Latency[k].histogram()
	}
	return out
}

// rejections of handshakes and connections, by HTTP status. engine is the number of connections
// that never had a session.
func (st *Counters) rejections(engine int64) map[string]int64 {
	by := counted(st.Rejected[:], rejectStatuses)
	if engine > 0 {
		by["503"] += engine
	}
	return by
}

// closeCodes and rejectStatuses are counted from 0 on, so that the first event is an
// increase of a counter that exists; others exist once they are counted.
var (
	closeCodes     = []int{1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013}
	rejectStatuses = []int{400, 401, 403, 404, 405, 408, 421, 426, 429, 431, 500, 503}
)

// counted returns the counters that are not 0, and the usual ones, by index.
func counted(counters []atomic.Int64, usual []int) map[string]int64 {
	by := make(map[string]int64)
	for _, i := range usual {
		by[strconv.Itoa(i)] = 0
	}
	for i := range counters {
		if n := counters[i].Load(); n > 0 {
			by[strconv.Itoa(i)] = n
		}
	}
	return by
}
