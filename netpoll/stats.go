package netpoll

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// counters are the engine's own. None of them is touched per message.
type counters struct {
	opened, closed, refused atomic.Int64
	listening               atomic.Int64
	dropped, abandoned      atomic.Int64
	broken                  atomic.Int64
	stale                   atomic.Int64
	starved, starving       atomic.Int64 // starving: listeners that wait for room
	behind, blocked         atomic.Int64
	saturated               atomic.Int64
	yielded                 atomic.Int64
	waits                   [waitBuckets]atomic.Int64
	waitTotal               atomic.Int64 // ns
}

// waitBuckets: bucket i counts batches that took less than 2^i × 64 µs, the
// last one all others, from 2 s on.
const waitBuckets = 16

func (s *counters) wait(d time.Duration) {
	i := bits.Len64(uint64(d / (64 * time.Microsecond)))
	s.waits[min(i, waitBuckets-1)].Add(1)
	s.waitTotal.Add(int64(d))
}

// Stats is a snapshot of an engine's counters since it began.
type Stats struct {
	Opened, Closed int64 // connections
	Refused        int64 // by the owner's Accept
	Dropped        int64 // messages that a full queue threw away, to make room or for want of it
	Abandoned      int64 // messages that were queued when their connection ended
	Broken         int64 // connections whose peer was gone when something was written
	Stale          int64 // events for a connection that was gone
	Starved        int64 // times that accepting stopped for want of descriptors or memory
	Behind         int64 // workers started because a batch took too long
	Blocked        int64 // times that workers were started because handlers block
	Saturated      int64 // times that none could be started: the bound is reached
	Yielded        int64 // turns given up because one connection had more to do than one may take
	Workers        int   // running now
	// Waits counts batches by the time from the poller to the end of their
	// last connection's turn, an upper bound of what a ready connection
	// waited. Bucket i counts those below 64 µs << i, the last all others.
	Waits     [waitBuckets]int64
	WaitTotal time.Duration
}

// WaitBound is the upper bound of bucket i of Stats.Waits.
func WaitBound(i int) time.Duration { return 64 * time.Microsecond << i }

// Stats reads the counters.
func (e *Engine) Stats() Stats {
	s := &e.stats
	out := Stats{
		Opened:    s.opened.Load(),
		Closed:    s.closed.Load(),
		Refused:   s.refused.Load(),
		Dropped:   s.dropped.Load(),
		Abandoned: s.abandoned.Load(),
		Broken:    s.broken.Load(),
		Stale:     s.stale.Load(),
		Starved:   s.starved.Load(),
		Behind:    s.behind.Load(),
		Blocked:   s.blocked.Load(),
		Saturated: s.saturated.Load(),
		Yielded:   s.yielded.Load(),
		Workers:   int(e.workers.Load()),
		WaitTotal: time.Duration(s.waitTotal.Load()),
	}
	for i := range s.waits {
		out.Waits[i] = s.waits[i].Load()
	}
	return out
}
