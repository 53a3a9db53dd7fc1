package stats

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

// Latency is a Histogram that many goroutines add to.
type Latency struct {
	counts [latencyBuckets]atomic.Int64
	sum    atomic.Int64 // ns
}

// latencyBuckets is the number of buckets: bucket i counts durations below 4^i × 16 µs,
// the last one all others, from 4.2 s on. The first is one write, the last a broadcast to
// a million sessions on a busy machine.
const latencyBuckets = 11

const latencyFirst = 16 * time.Microsecond

// Add counts a duration.
func (l *Latency) Add(d time.Duration) {
	i := (bits.Len64(uint64(max(d, 0)/latencyFirst)) + 1) / 2
	l.counts[min(i, latencyBuckets-1)].Add(1)
	l.sum.Add(int64(d))
}

func (l *Latency) histogram() Histogram {
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

// Kind is a kind of push, by its receivers.
type Kind uint8

// The kinds.
const (
	ToUser Kind = iota
	ToTopic
	ToAll
	ToSeveral // users and topics
	ToInbox   // of a user or a durable topic: stored first
	kinds
)

// String returns the name of the kind, such as "user".
func (k Kind) String() string {
	return [kinds]string{"user", "topic", "broadcast", "several", "durable"}[k]
}
