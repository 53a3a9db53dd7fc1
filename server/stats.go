package server

import (
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/secure"
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
	identifyFull  atomic.Int64 // handshakes rejected by IdentifierQueue
	refreshes     atomic.Int64 // sessions refreshed
	manySessions  atomic.Int64 // handshakes rejected by SessionsPerUser
	shortOfMemory atomic.Int64 // connections rejected because memory is short
	proxyHeaders  atomic.Int64 // PROXY protocol headers that were rejected
	aborted       atomic.Int64 // connections that ended before their request was complete
	received      atomic.Int64 // messages from clients
	pushed        atomic.Int64 // deliveries
	published     atomic.Int64
	replayed      atomic.Int64 // deliveries of them
	broadcast     atomic.Int64
	heldDropped   atomic.Int64 // live messages held when their session ended
	pings         atomic.Int64
	dead          atomic.Int64 // sessions that missed a heartbeat
	slow          atomic.Int64 // sessions closed because their queue was full
	overRate      atomic.Int64 // sessions closed because they sent too much at once
	forced        atomic.Int64 // closing handshakes that took too long
	panics        atomic.Int64 // in hooks, dialects, Config.Fallback, the cluster and the store
	fallback      atomic.Int64 // plain requests on the public listener
	closes        [5000]atomic.Int64
	latency       [pushKinds]latency
}

func (st *stats) reject(status int) { st.rejected[status].Add(1) }
func (st *stats) close(code Code)   { st.closes[code].Add(1) }

// unfinished counts a connection that never became a session.
func (st *stats) unfinished(was phase) {
	if was <= readingRequest {
		st.aborted.Add(1)
	}
}

// Stats describe a server: its state now, and counters since New.
//
// The tag metric of a field is its name as a Prometheus metric, without the prefix
// "fanfare_", and after a comma the name of the label whose values are the keys of a map.
// A name that ends with "_total" is that of a counter. Package api exports every field that
// has this tag. In the tag of a struct it is a prefix for the names in it.
type Stats struct {
	Transport     string  `json:"transport"`
	Status        string  `json:"status"`
	UptimeSeconds float64 `json:"uptime_seconds"`

	Sessions        int64 `json:"sessions" metric:"sessions" help:"Open sessions."`
	Users           int   `json:"users" metric:"users" help:"Users with a session."`
	Topics          int   `json:"topics" metric:"topics" help:"Topics with a subscriber."`
	Connections     int64 `json:"connections" metric:"connections" help:"Open connections, including those in their handshake."`
	MaxConnections  int   `json:"max_connections" metric:"connections_limit" help:"Limit of fanfare_connections."`
	Nodes           int   `json:"nodes" metric:"nodes" help:"Live nodes of the cluster, including this one."`
	Workers         int   `json:"workers" metric:"workers" help:"Goroutines that serve ready connections."`
	QueuedBytes     int64 `json:"queued_bytes" metric:"queued_bytes" help:"Bytes in the outbound queues of all connections."`
	UnfinishedBytes int64 `json:"unfinished_bytes" metric:"unfinished_bytes" help:"Memory of handshakes and messages that are not complete."`

	Handshakes    int64 `json:"handshakes" metric:"handshakes_total" help:"Completed handshakes."`
	Aborted       int64 `json:"aborted_handshakes" metric:"aborted_handshakes_total" help:"Connections that ended before their request was complete."`
	Refreshes     int64 `json:"refreshes" metric:"refreshes_total" help:"Sessions whose identity was refreshed."`
	Fallback      int64 `json:"plain_requests" metric:"plain_requests_total" help:"Requests on the public listener that are not handshakes."`
	Received      int64 `json:"messages_received" metric:"received_total" help:"Messages received from clients."`
	ReceivedBytes int64 `json:"received_bytes" metric:"received_bytes_total" help:"Bytes read from connections, without what TLS adds."`
	SentBytes     int64 `json:"sent_bytes" metric:"sent_bytes_total" help:"Bytes written to connections, without what TLS adds."`
	Pings         int64 `json:"pings" metric:"pings_total" help:"Heartbeats sent."`
	Dead          int64 `json:"missed_heartbeats" metric:"missed_heartbeats_total" help:"Sessions closed because of a missed heartbeat."`
	Slow          int64 `json:"slow_consumers"` // sessions closed because their queue was full: Dropped["slow"]
	Forced        int64 `json:"forced_closes" metric:"forced_closes_total" help:"Closing handshakes that timed out."`
	Panics        int64 `json:"hook_panics" metric:"hook_panics_total" help:"Panics recovered in hooks, dialects, Config.Fallback, the cluster, the store, the observer, and connections given to Adopt."`

	ProxyErrors int64 `json:"proxy_header_errors" metric:"proxy_header_errors_total" help:"Connections rejected for their PROXY protocol header: missing, malformed, or from another address than the proxies'."`

	Rejected  map[string]int64 `json:"rejected_by_status" metric:"rejected_total,status" help:"Rejected connections and handshakes, by HTTP status."`
	Limited   map[string]int64 `json:"stopped_by_limit" metric:"limited_total,limit" help:"Connections, handshakes, sessions and requests stopped by a limit."`
	Delivered map[string]int64 `json:"messages_delivered" metric:"delivered_total,kind" help:"Messages written or queued to a session, by kind of push."`
	Dropped   map[string]int64 `json:"dropped_by_reason" metric:"dropped_total,reason" help:"Messages that did not reach a session, by reason."`
	Closes    map[string]int64 `json:"closes_by_code" metric:"closes_total,code" help:"Ended sessions, by close code (RFC 6455, 7.4)."`

	// Delivery has the pushes with a receiver on this node: to a user, to a topic, to all
	// (broadcast), to several users and topics, and durable ones. The time begins when
	// this node accepts the push, from a call of Push for instance, and ends when the
	// message is written or queued to the last receiver of this node; for a durable message
	// it includes storing it, and does not include sessions that read it from the store
	// later.
	Delivery map[string]Histogram `json:"delivery" metric:"delivery_seconds,kind" help:"Time from accepting a push to writing or queueing it to its last receiver on this node, by kind of push. For a durable message it includes storing it."`

	Opened    int64 `json:"connections_opened" metric:"connections_opened_total" help:"Connections accepted."`
	Closed    int64 `json:"connections_closed" metric:"connections_closed_total" help:"Connections closed."`
	Broken    int64 `json:"broken_writes" metric:"broken_writes_total" help:"Connections whose peer was gone at a write."`
	Stale     int64 `json:"stale_events" metric:"stale_events_total" help:"Events for connections that were already closed."`
	Starved   int64 `json:"accept_pauses" metric:"accept_pauses_total" help:"Times that accepting paused for lack of descriptors or memory."`
	Overrun   int64 `json:"workers_overrun" metric:"workers_overrun_total" help:"Workers started because a batch took too long."`
	Blocked   int64 `json:"workers_started_blocked" metric:"workers_blocked_total" help:"Times that workers were started because hooks blocked."`
	Saturated int64 `json:"workers_saturated" metric:"workers_saturated_total" help:"Times that the limit of workers was reached."`
	Yielded   int64 `json:"turns_yielded" metric:"turns_yielded_total" help:"Connections requeued because they had more work than one turn may take."`

	// Waits has the batches of ready connections.
	Waits Histogram `json:"batches" metric:"batch_seconds" help:"Upper bound of the time that a ready connection waited for its turn: from the poll to the last turn of its batch."`

	// TLS is nil without TLS.
	TLS *TLSStats `json:"tls,omitzero" metric:"tls_"`
	// Replay is nil without a store.
	Replay *ReplayStats `json:"replay,omitzero" metric:"replay_"`
}

// ReplayStats describe the delivery of stored messages: two present values, and
// counters since New.
type ReplayStats struct {
	Sessions int `json:"sessions" metric:"sessions" help:"Sessions that stored messages were or are sent to."`
	Waiting  int `json:"waiting" metric:"waiting" help:"Sessions whose replay waits for a worker or the store."`

	Replayed   int64 `json:"replayed" metric:"messages_total" help:"Stored messages written to sessions."`
	Gaps       int64 `json:"gaps" metric:"gaps_total" help:"Gaps announced to sessions."`
	Resets     int64 `json:"resets" metric:"resets_total" help:"Sessions that resumed with an offset of another epoch."`
	Expired    int64 `json:"expired" metric:"expired_total" help:"Stored messages not delivered because they had expired."`
	Damaged    int64 `json:"damaged" metric:"damaged_total" help:"Reads of stored messages that found damage."`
	TooBig     int64 `json:"too_big_closes" metric:"too_big_closes_total" help:"Sessions that the client closed with 1009 while a stored message was in flight."`
	Skipped    int64 `json:"skipped" metric:"skipped_total" help:"Stored messages skipped because clients closed with 1009, or the dialect failed to encode them, twice."`
	Ignored    int64 `json:"ignored_acks" metric:"ignored_acks_total" help:"Acknowledgements for an earlier epoch of their session."`
	Unstored   int64 `json:"unstored_positions" metric:"unstored_positions_total" help:"Positions in durable topics not stored because the user or the address has the maximum number of them."`
	Unanswered int64 `json:"unanswered" metric:"unanswered_total" help:"Sessions that do not answer pings properly."`
	Dropped    int64 `json:"held_dropped" metric:"held_dropped_total" help:"Live messages that waited for older stored ones when their session ended."`
	Panics     int64 `json:"panics" metric:"panics_total" help:"Sessions closed because of a panic during replay."`
}

// Stats returns a snapshot.
func (srv *Server) Stats() *Stats {
	st, engine := &srv.stats, srv.engine.Stats()
	out := &Stats{
		Transport:       srv.engine.Transport().String(),
		Status:          srv.Status().String(),
		UptimeSeconds:   srv.now().Seconds(),
		Sessions:        srv.sessions.Load(),
		Users:           srv.users.Users(),
		Topics:          srv.users.Topics(),
		Connections:     srv.connections.Load(),
		MaxConnections:  srv.live().MaxConnections,
		Workers:         engine.Workers,
		Nodes:           1,
		Handshakes:      st.handshakes.Load(),
		Aborted:         st.aborted.Load(),
		Refreshes:       st.refreshes.Load(),
		Fallback:        st.fallback.Load(),
		Received:        st.received.Load(),
		ReceivedBytes:   engine.Received,
		SentBytes:       engine.Sent,
		QueuedBytes:     engine.Queued,
		Pings:           st.pings.Load(),
		Dead:            st.dead.Load(),
		Slow:            st.slow.Load(),
		Forced:          st.forced.Load(),
		Panics:          st.panics.Load() + engine.Panics,
		ProxyErrors:     st.proxyHeaders.Load(),
		UnfinishedBytes: srv.memory.Held(),
		Rejected:        srv.rejections(),
		Limited: map[string]int64{
			"connections":        st.full.Load(),
			"connections_per_ip": st.addressFull.Load(),
			"handshake_rate":     st.handshakeRate.Load(),
			"identifications":    st.identifyFull.Load(),
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
		Closes:    counted(st.closes[:], closeCodes),
		Delivery:  make(map[string]Histogram),
		Opened:    engine.Opened,
		Closed:    engine.Closed,
		Broken:    engine.Broken,
		Stale:     engine.Stale,
		Starved:   engine.Starved,
		Overrun:   engine.Overrun,
		Blocked:   engine.Blocked,
		Saturated: engine.Saturated,
		Yielded:   engine.Yielded,
		Waits:     waits(engine),
	}
	for k := range st.latency {
		out.Delivery[pushKind(k).String()] = st.latency[k].histogram()
	}
	if srv.tls != nil {
		out.TLS = newTLSStats(srv.tls.Stats())
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
	by := counted(srv.stats.rejected[:], rejectStatuses)
	if n := srv.engine.Stats().Rejected; n > 0 { // connections that never had a session
		by["503"] += n
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

// Histogram counts durations by size.
type Histogram struct {
	Count   int64   `json:"count"`
	Seconds float64 `json:"seconds"` // the sum of all durations
	// Counts[i] is the number of durations below Bounds[i] and not below Bounds[i-1].
	// Counts has one element more than Bounds, for durations above the last bound.
	Bounds []time.Duration `json:"-"`
	Counts []int64         `json:"-"`
}

// latency is a Histogram that many goroutines add to.
type latency struct {
	counts [latencyBuckets]atomic.Int64
	sum    atomic.Int64 // ns
}

// latencyBuckets is the number of buckets: bucket i counts durations below 4^i × 16 µs,
// the last one all others, from 4.2 s on. The first is one write, the last a broadcast to
// a million sessions on a busy machine.
const latencyBuckets = 11

const latencyFirst = 16 * time.Microsecond

func (l *latency) add(d time.Duration) {
	i := (bits.Len64(uint64(max(d, 0)/latencyFirst)) + 1) / 2
	l.counts[min(i, latencyBuckets-1)].Add(1)
	l.sum.Add(int64(d))
}

func (l *latency) histogram() Histogram {
	h := Histogram{Seconds: time.Duration(l.sum.Load()).Seconds()}
	for i := range l.counts {
		if i < latencyBuckets-1 {
			h.Bounds = append(h.Bounds, latencyFirst<<(2*i))
		}
		h.Counts = append(h.Counts, l.counts[i].Load())
		h.Count += h.Counts[i]
	}
	return h
}

// waits is the histogram of netpoll.Stats.Waits.
func waits(s netpoll.Stats) Histogram {
	h := Histogram{Seconds: s.WaitTotal.Seconds(), Counts: s.Waits[:]}
	for i, n := range s.Waits {
		if i < len(s.Waits)-1 {
			h.Bounds = append(h.Bounds, netpoll.WaitBound(i))
		}
		h.Count += n
	}
	return h
}

// pushKind is a kind of push, by its receivers.
type pushKind uint8

const (
	toUser pushKind = iota
	toTopic
	toAll
	toSeveral // users and topics
	toInbox   // of a user or a durable topic: stored first
	pushKinds
)

func (k pushKind) String() string {
	return [pushKinds]string{"user", "topic", "broadcast", "several", "durable"}[k]
}

// observePush notes that a push, which this node accepted at began, is now written or queued to
// n sessions of this node. It takes the same time for any number of receivers. Pushes
// without a local receiver are not counted: they would hide the others.
func (srv *Server) observePush(k pushKind, began time.Duration, n int) {
	if n > 0 {
		srv.stats.latency[k].add(srv.now() - began)
	}
}

// TLSStats describe the TLS handshakes of the public listener: three present values, and
// counters since New. Clients that send nothing are in Stats.Aborted only.
type TLSStats struct {
	Running  int              `json:"running" metric:"handshakes_running" help:"TLS handshakes under way."`
	Limit    int              `json:"limit" metric:"handshakes_limit" help:"Limit of fanfare_tls_handshakes_running."`
	Waiting  int              `json:"waiting" metric:"handshakes_waiting" help:"TLS handshakes that wait because the limit is reached."`
	Done     map[string]int64 `json:"handshakes_by_version" metric:"handshakes_total,version" help:"Completed TLS handshakes, by version."`
	Resumed  int64            `json:"resumed" metric:"resumed_total" help:"Completed TLS handshakes that resumed a session."`
	Failures map[string]int64 `json:"failures_by_reason" metric:"handshake_failures_total,reason" help:"TLS handshakes that failed, by reason."`
}

func newTLSStats(s secure.Stats) *TLSStats {
	return &TLSStats{Running: s.Running, Limit: s.Limit, Waiting: s.Waiting, Done: s.Handshakes, Resumed: s.Resumed, Failures: s.Failures}
}
