package netpoll

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// counters are the engine's counters. None of them changes per message; traffic has the
// counters of bytes, which do.
type counters struct {
	opened, closed, rejected atomic.Int64
	listening                atomic.Int64
	dropped, abandoned       atomic.Int64
	conflated                atomic.Int64
	broken                   atomic.Int64
	panics                   atomic.Int64
	stale                    atomic.Int64
	starved, starving        atomic.Int64 // starving: listeners that have paused
	overrun, blocked         atomic.Int64
	saturated                atomic.Int64
	yielded                  atomic.Int64
	waits                    [waitBuckets]atomic.Int64
	waitTotal                atomic.Int64 // ns
}

// waitBuckets is the number of buckets: bucket i counts batches that took less than
// 2^i × 64 µs, the last one all others, from 1 s on.
const waitBuckets = 16

func (s *counters) wait(d time.Duration) {
	i := bits.Len64(uint64(d / (64 * time.Microsecond)))
	s.waits[min(i, waitBuckets-1)].Add(1)
	s.waitTotal.Add(int64(d))
}

// Stats is a snapshot of an engine's counters, all since its start.
type Stats struct {
	Opened, Closed int64 // connections
	Rejected       int64 // connections for which Accept returned nil
	Dropped        int64 // messages dropped because a queue was full
	Conflated      int64 // messages that a newer one with the same Key has replaced in a queue
	Abandoned      int64 // messages that were queued when their connection ended
	Broken         int64 // connections that ended with a failed write
	Panics         int64 // panics recovered in a net.Conn that was given to Adopt
	Stale          int64 // events for a connection that was closed already
	Starved        int64 // times that accepting paused after an error, as without a free descriptor
	Overrun        int64 // workers started because a batch took too long
	Blocked        int64 // times that workers were started because handlers blocked
	Saturated      int64 // times that none could be started because Config.Workers were running
	Yielded        int64 // turns given up because a connection had more work than fits one turn
	Workers        int   // running now
	// Received and Sent are the bytes read from and written to connections: without
	// what TLS adds, and without what was read before Adopt and after Detach.
	Received, Sent int64
	Queued         int64 // bytes in outbound queues now
	// Waits counts batches by the time from the poll to the end of their last
	// connection's turn, an upper bound of what a ready connection waited. Bucket i
	// counts batches below WaitBound(i), the last bucket all others.
	Waits     [waitBuckets]int64
	WaitTotal time.Duration
}

// WaitBound returns the upper bound of bucket i of Stats.Waits.
func WaitBound(i int) time.Duration { return 64 * time.Microsecond << i }

// Stats returns the current counters.
func (e *Engine) Stats() Stats {
	s := &e.stats
	out := Stats{
		Opened:    s.opened.Load(),
		Closed:    s.closed.Load(),
		Rejected:  s.rejected.Load(),
		Dropped:   s.dropped.Load(),
		Conflated: s.conflated.Load(),
		Abandoned: s.abandoned.Load(),
		Broken:    s.broken.Load(),
		Panics:    s.panics.Load(),
		Stale:     s.stale.Load(),
		Starved:   s.starved.Load(),
		Overrun:   s.overrun.Load(),
		Blocked:   s.blocked.Load(),
		Saturated: s.saturated.Load(),
		Yielded:   s.yielded.Load(),
		Workers:   int(e.workers.Load()),
		WaitTotal: time.Duration(s.waitTotal.Load()),
	}
	out.Received, out.Sent, out.Queued = e.traffic.sum()
	for i := range s.waits {
		out.Waits[i] = s.waits[i].Load()
	}
	return out
}

// traffic counts the bytes of all connections. Connections share trafficParts counters,
// by their generation: with one counter, cores that serve different connections would
// wait for each other's writes to its cache line.
type traffic [trafficParts]trafficPart

const (
	trafficParts = 16
	cacheLine    = 64
)

type trafficPart struct {
	received atomic.Int64
	sent     atomic.Int64
	queued   atomic.Int64 // bytes in outbound queues now
	_        [cacheLine - 3*8]byte
}

// traffic returns the counters of a connection that is open.
func (c *Conn) traffic() *trafficPart { return &c.engine.traffic[c.gen%trafficParts] }

// sum returns the totals of all connections.
func (t *traffic) sum() (received, sent, queued int64) {
	for i := range t {
		received += t[i].received.Load()
		sent += t[i].sent.Load()
		queued += t[i].queued.Load()
	}
	return received, sent, queued
}
