package server

import (
	"math/bits"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
)

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
