package limit

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	var b Bucket
	const rate = 100
	for _, step := range []struct {
		name string
		n    int64
		now  uint32
		want bool
	}{
		{"starts full", rate * Burst, 5, true},
		{"and is then empty", 1, 5, false},
		{"a tick brings a tenth of the rate", 10, 6, true},
		{"and no more", 1, 6, false},
		{"a request that fails takes nothing", 20, 7, false},
		{"so a smaller one succeeds", 10, 7, true},
		{"holds no more than its size", rate*Burst + 1, 100_000, false},
		{"but all of that", rate * Burst, 100_000, true},
	} {
		if got := b.Take(step.n, rate, step.now); got != step.want {
			t.Errorf("%s: Take(%d) at %d = %v", step.name, step.n, step.now, got)
		}
	}
	b.PutBack(7)
	if !b.Take(7, rate, 100_000) || b.Take(1, rate, 100_000) {
		t.Error("PutBack(7) did not bring 7 tokens")
	}
}

// A caller that tries at every tick gets what the rate says, to the token, even if
// the rate is not a multiple of the ticks in a second.
func TestBucketIsExact(t *testing.T) {
	const seconds = 10_000
	for _, rate := range []int64{1, 3, 15, 19, 100} {
		for _, every := range []uint32{1, 3, 7} { // ticks
			t.Run(fmt.Sprintf("%d per second, every %d ticks", rate, every), func(t *testing.T) {
				var b Bucket
				got := int64(0)
				for now := uint32(1); now <= 1+seconds*TicksPerSecond; now += every {
					for b.Take(1, rate, now) {
						got++
					}
				}
				last := seconds * int64(TicksPerSecond) / int64(every) * int64(every) // tick of the last try, less the first
				if want := rate*Burst + rate*last/int64(TicksPerSecond); got != want {
					t.Errorf("%d in %d s, want %d", got, seconds, want)
				}
			})
		}
	}
}

// The highest rate does not overflow, on 32-bit machines too, when nothing is taken
// from a bucket until the ticks wrap.
func TestBucketDoesNotOverflow(t *testing.T) {
	var b Bucket
	const rate = MaxRate
	if !b.Take(rate*Burst, rate, 1) || !b.Take(rate*Burst, rate, 1<<32-1) || b.Take(1, rate, 1<<32-1) {
		t.Error("a bucket that was empty is not exactly full after 13 years")
	}
}

func TestGateIsShared(t *testing.T) {
	var g Gate
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 * Burst {
				if _, ok := g.Take(10, 1); ok {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 10*Burst {
		t.Errorf("four goroutines took %d tokens, want %d", n, 10*Burst)
	}
}

// TestRetryAfter: each client that is rejected learns when there is a token for it. Those
// that come back at that time are accepted, and the longest wait is bounded.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		rate     int64
		rejected int
		want     []time.Duration // of the first ones
		last     time.Duration
	}{
		{1, 4, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}, 4 * time.Second},
		{1, 100, nil, MostWait},
		{3, 6, []time.Duration{4 * Tick, 7 * Tick, time.Second}, 2 * time.Second},
		{50, 200, []time.Duration{Tick, Tick, Tick, Tick, Tick, 2 * Tick}, 4 * time.Second},
		{20_000, 40_000, []time.Duration{Tick}, 2 * time.Second},
	} {
		var g Gate
		const now = 7
		for range test.rate * Burst {
			g.Take(test.rate, now)
		}
		back := map[time.Duration]int{}
		var waits []time.Duration
		for range test.rejected {
			wait, ok := g.Take(test.rate, now)
			if ok {
				t.Fatal("accepted over the rate")
			}
			waits = append(waits, wait)
			back[wait]++
		}
		if n := len(test.want); !slices.Equal(waits[:n], test.want) || waits[len(waits)-1] != test.last {
			t.Errorf("rate %d: answered %v, and %v in the end, want %v, %v", test.rate, waits[:n], waits[len(waits)-1], test.want, test.last)
		}
		if test.last == MostWait {
			continue // more were promised than there will be
		}
		for tick := range uint32(test.last / Tick) {
			wait := time.Duration(tick+1) * Tick
			for range back[wait] {
				if _, ok := g.Take(test.rate, now+tick+1); !ok {
					t.Errorf("rate %d: rejected again after %v", test.rate, wait)
				}
			}
		}
		// The next client that is rejected does not wait for those that were accepted.
		if wait, ok := g.Take(test.rate, now+uint32(test.last/Tick)); ok || wait > time.Second {
			t.Errorf("rate %d: then %v, %v", test.rate, wait, ok)
		}
	}
}
