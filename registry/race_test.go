package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Goroutines join sessions, subscribe, unsubscribe and leave, several of them on the same session, while
// others read. No session is in a topic twice or after it left, and at the end the registry is empty.
func TestRegistryRaces(t *testing.T) {
	const goroutines, rounds = 8, 400
	topics := []string{"x", "y", "z"}
	r := newRegistry(Limits{SessionsPerUser: 1000})
	var wg sync.WaitGroup
	var stop atomic.Bool

	// The readers run until the writers are done.
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var buf []*session
			seen := map[*session]bool{}
			for !stop.Load() {
				for _, topic := range topics {
					buf = r.AppendTopic(buf[:0], topic)
					clear(seen)
					for _, s := range buf {
						if seen[s] {
							t.Errorf("session %d is in %s twice", s.id, topic)
							return
						}
						seen[s] = true
					}
				}
			}
		})
	}

	for g := range goroutines {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 13))
			for i := range rounds {
				s := &session{id: g*rounds + i}
				if err := r.Join(fmt.Sprint("user", i%50), s); err != nil {
					t.Error(err)
					return
				}
				// Three goroutines work on one session; one of them makes it leave.
				var contenders sync.WaitGroup
				for range 2 {
					seed := rng.Uint64()
					contenders.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 17))
						for range 12 {
							topic := topics[rng.IntN(len(topics))]
							if rng.IntN(2) == 0 {
								_, err := r.Subscribe(s, topic)
								if err != nil && err != ErrNotJoined {
									t.Error(err)
								}
							} else {
								r.Unsubscribe(s, topic)
							}
						}
					})
				}
				contenders.Go(func() {
					for range rng.IntN(3) {
						_, _ = r.Subscribe(s, topics[rng.IntN(len(topics))])
					}
					if !r.Leave(s) {
						t.Error("Leave of a session that has joined returned false")
					}
					for _, topic := range topics {
						for _, m := range r.AppendTopic(nil, topic) {
							if m == s {
								t.Errorf("session %d is in %s after it left", s.id, topic)
							}
						}
					}
				})
				contenders.Wait()
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	readers.Wait()
	r.check(t)
	if r.Sessions() != 0 || r.Users() != 0 || r.Topics() != 0 {
		t.Fatalf("not empty: %d sessions, %d users, %d topics", r.Sessions(), r.Users(), r.Topics())
	}
}

// Four goroutines subscribe and unsubscribe one session. On a topic that only one of them uses, the result
// of a call holds until its next call.
func TestSubscribeRaces(t *testing.T) {
	r := newRegistry(Limits{})
	s := join(t, r, "a")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			exclusive := fmt.Sprint("exclusive", g)
			for i := range 3000 {
				if added, err := r.Subscribe(s, exclusive); !added || err != nil || r.TopicSessions(exclusive) != 1 {
					t.Errorf("Subscribe = %v, %v; %d subscribers", added, err, r.TopicSessions(exclusive))
					return
				}
				if i%2 == 0 {
					_, _ = r.Subscribe(s, "shared")
				} else {
					r.Unsubscribe(s, "shared")
				}
				if n := r.TopicSessions("shared"); n > 1 {
					t.Errorf("one session is subscribed %d times", n)
					return
				}
				if !r.Unsubscribe(s, exclusive) || r.TopicSessions(exclusive) != 0 {
					t.Error("Unsubscribe did not end the subscription")
					return
				}
			}
		})
	}
	wg.Wait()
	r.check(t)
}

// Sessions that stay are found while others join and leave, and tables grow and shrink.
func TestUsersDuringChurn(t *testing.T) {
	const stay = 2000
	r := newRegistry(Limits{})
	for i := range stay {
		s := join(t, r, fmt.Sprint("stays", i/2)) // two of each user
		s.id = i
	}
	var churn sync.WaitGroup
	var stop atomic.Bool
	for g := range 3 {
		churn.Go(func() {
			for !stop.Load() {
				var wave []*session // large enough that tables grow and shrink
				for i := range 3000 {
					s := &session{}
					if err := r.Join(fmt.Sprint("comes", g, "-", i), s); err != nil {
						t.Error(err)
						return
					}
					wave = append(wave, s)
				}
				for _, s := range wave {
					r.Leave(s)
				}
			}
		})
	}
	var buf []*session
	for range 50 {
		for i := range stay / 2 {
			user := fmt.Sprint("stays", i)
			if buf = r.AppendUser(buf[:0], user); len(buf) != 2 || buf[0].id/2 != i || buf[1].id/2 != i {
				t.Errorf("%s has %d sessions, want 2", user, len(buf))
			}
		}
	}
	stop.Store(true)
	churn.Wait()
	r.check(t)
}

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
