package attack

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Feel is what the healthy felt while the machine was quiet, or, if it never was, in all.
type Feel struct {
	Echo    Latency `json:"echo"`
	Push    Latency `json:"push"`
	Machine Latency `json:"machine"` // how late sleeping threads were woken
	Seconds int     `json:"seconds"`
	Quiet   int     `json:"quiet"` // seconds in which that was not late
}

// Latency of some messages, in milliseconds.
type Latency struct {
	Messages int     `json:"messages"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

func latency(h *hdrhistogram.Histogram) (l Latency) {
	if h == nil {
		return l
	}
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	return Latency{int(h.TotalCount()), ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.Max())}
}

// A second is what the healthy felt in one, in nanoseconds.
type second struct{ echo, push, machine *hdrhistogram.Histogram }

// quiet tells whether it is the server that was measured, and not how its machine, or the hypervisor below it,
// stood still.
func (s second) quiet() bool { return latency(s.machine).P99 <= standstill }

// feeling adds seconds up. What messages cost is not felt while the machine stands still for other reasons.
type feeling struct {
	all, calm      second
	seconds, quiet int
}

func (f *feeling) add(s second) {
	f.seconds++
	f.all.merge(s)
	if s.quiet() {
		f.quiet++
		f.calm.merge(s)
	}
}

func (s *second) merge(other second) {
	for _, h := range []struct {
		to   **hdrhistogram.Histogram
		from *hdrhistogram.Histogram
	}{{&s.echo, other.echo}, {&s.push, other.push}, {&s.machine, other.machine}} {
		switch {
		case h.from == nil:
		case *h.to == nil:
			*h.to = hdrhistogram.Import(h.from.Export())
		default:
			(*h.to).Merge(h.from)
		}
	}
}

func (f *feeling) feel() Feel {
	of := f.calm
	if f.quiet == 0 {
		of = f.all
	}
	return Feel{latency(of.echo), latency(of.push), latency(of.machine), f.seconds, f.quiet}
}

// feel lets the clients work for a while, second by second, with beside going on in each.
func (h *healthy) feel(ctx context.Context, d time.Duration, beside func(ctx context.Context)) (Feel, error) {
	var f feeling
	end := time.Now().Add(d)
	for left := d; ; {
		s, err := h.second(ctx, min(left, time.Second), beside)
		f.add(s)
		if left = time.Until(end); err != nil || left < time.Second/4 {
			return f.feel(), err
		}
	}
}
