package registry

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A timer that is armed fires once or is stopped once, and does not fire early.
func TestWheelRaces(t *testing.T) {
	const each, rounds = 200, 60
	type counted struct{ armed, fired, stopped atomic.Int64 }
	w := newWheel(tick, 16)
	counts := make([]counted, 4*each)
	due := make([]atomic.Int64, 4*each)
	var clock atomic.Int64
	var wg, advance sync.WaitGroup
	var stop atomic.Bool
	advance.Go(func() {
		for !stop.Load() {
			now := clock.Add(int64(tick) / 3)
			w.Advance(time.Duration(now), func(s *session) {
				if d := due[s.id].Load(); d > now {
					t.Errorf("timer %d fired at %d, due at %d", s.id, now, d)
				}
				counts[s.id].fired.Add(1)
			})
		}
	})
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 19))
			mine := make([]*session, each)
			for i := range mine {
				mine[i] = &session{id: g*each + i}
			}
			for range rounds {
				for _, s := range mine {
					c := &counts[s.id]
					if w.Stop(s) {
						c.stopped.Add(1)
					} else if c.fired.Load()+c.stopped.Load() != c.armed.Load() {
						continue // about to fire: with a later due time this would look early
					}
					at := clock.Load() + rng.Int64N(int64(40*tick)) - int64(2*tick)
					due[s.id].Store(at)
					c.armed.Add(1)
					w.Schedule(s, time.Duration(at))
				}
			}
			for _, s := range mine {
				if w.Stop(s) {
					counts[s.id].stopped.Add(1)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	advance.Wait()
	if n := w.check(t); n != 0 {
		t.Fatalf("%d timers are armed at the end", n)
	}
	for i := range counts {
		c := &counts[i]
		if a, f, s := c.armed.Load(), c.fired.Load(), c.stopped.Load(); a != f+s {
			t.Errorf("timer %d: armed %d times, fired %d, stopped %d", i, a, f, s)
		}
	}
}

// A timer that is scheduled again before it fires does not fire for the earlier time: every call of
// Schedule ends in exactly one of firing, being moved, and being stopped, whatever Advance does at the
// same moment.
func TestWheelScheduleAgainRaces(t *testing.T) {
	const timers, rounds = 8, 20_000
	w := newWheel(tick, 4)
	var clock atomic.Int64
	var stop atomic.Bool
	var fired [4 * timers]int // written by Advance only
	var wg, advance sync.WaitGroup
	advance.Go(func() {
		for !stop.Load() {
			w.Advance(time.Duration(clock.Add(int64(tick))), func(s *session) { fired[s.id]++ })
		}
	})
	var scheduled, moved, stopped [4 * timers]int
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 29))
			mine := make([]*session, timers)
			for i := range mine {
				mine[i] = &session{id: g*timers + i}
			}
			for range rounds {
				s := mine[rng.IntN(timers)]
				// Between a tick ago and two ticks ahead, so that many are firing.
				scheduled[s.id]++
				if w.Schedule(s, time.Duration(clock.Load())+time.Duration(rng.IntN(4)-1)*tick) {
					moved[s.id]++
				}
			}
			for _, s := range mine {
				if w.Stop(s) {
					stopped[s.id]++
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	advance.Wait()
	total := 0
	for i := range fired {
		if scheduled[i] != fired[i]+moved[i]+stopped[i] {
			t.Errorf("timer %d: scheduled %d times, fired %d, moved %d, stopped %d", i, scheduled[i], fired[i], moved[i], stopped[i])
		}
		total += moved[i]
	}
	if total == 0 {
		t.Error("no timer was moved")
	}
	if n := w.check(t); n != 0 {
		t.Errorf("%d timers are armed at the end", n)
	}
}

// Several goroutines, and the function given to Advance, schedule and stop the same few timers. The lists
// stay consistent whichever call wins.
func TestWheelContention(t *testing.T) {
	w := newWheel(tick, 4)
	all := make([]*session, 6)
	for i := range all {
		all[i] = &session{id: i}
	}
	var wg, advance sync.WaitGroup
	var clock atomic.Int64
	var stop atomic.Bool
	advance.Go(func() {
		for !stop.Load() {
			now := time.Duration(clock.Add(int64(tick) / 2))
			w.Advance(now, func(s *session) {
				w.Schedule(s, now+time.Duration(s.id)*tick)
				w.Stop(all[(s.id+1)%len(all)])
			})
		}
	})
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 23))
			for range 5000 {
				s := all[rng.IntN(len(all))]
				if rng.IntN(4) == 0 {
					w.Stop(s)
				} else {
					w.Schedule(s, time.Duration(clock.Load())+time.Duration(rng.IntN(9)-2)*tick)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	advance.Wait()
	if n := w.check(t); n > len(all) {
		t.Fatalf("%d of %d timers are armed", n, len(all))
	}
}
