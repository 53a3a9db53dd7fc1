package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sessions come, subscribe, unsubscribe and go while others do the same to the same sessions, and
// readers look. Nothing dangles, nothing doubles, and at the end nothing is left.
func TestRegistryRaces(t *testing.T) {
	const goroutines, rounds = 8, 400
	topics := []string{"x", "y", "z"}
	r := newRegistry(Limits{SessionsPerUser: 1000})
	var wg sync.WaitGroup
	var stop atomic.Bool

	// The readers look until the writers are done.
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
				// Three goroutines fight over one session, one of them makes it leave.
				var fight sync.WaitGroup
				for range 2 {
					seed := rng.Uint64()
					fight.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 17))
						for range 12 {
							topic := topics[rng.IntN(len(topics))]
							if rng.IntN(2) == 0 {
								_, err := r.Subscribe(s, topic)
								if err != nil && err != ErrGone {
									t.Error(err)
								}
							} else {
								r.Unsubscribe(s, topic)
							}
						}
					})
				}
				fight.Go(func() {
					for range rng.IntN(3) {
						_, _ = r.Subscribe(s, topics[rng.IntN(len(topics))])
					}
					if !r.Leave(s) {
						t.Error("Leave of a session that is here returned false")
					}
					for _, topic := range topics {
						for _, m := range r.AppendTopic(nil, topic) {
							if m == s {
								t.Errorf("session %d is in %s when it has left", s.id, topic)
							}
						}
					}
				})
				fight.Wait()
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	readers.Wait()
	r.check(t)
	if r.Sessions() != 0 || r.Users() != 0 || r.Topics() != 0 {
		t.Fatalf("left: %d sessions, %d users, %d topics", r.Sessions(), r.Users(), r.Topics())
	}
}

// Two goroutines subscribe and unsubscribe one session that stays. What a call has returned holds when
// only one of them is at work on a topic.
func TestSubscribeRaces(t *testing.T) {
	r := newRegistry(Limits{})
	s := join(t, r, "a")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			own := fmt.Sprint("own", g)
			for i := range 3000 {
				if added, err := r.Subscribe(s, own); !added || err != nil || r.TopicSessions(own) != 1 {
					t.Errorf("Subscribe = %v, %v; %d members", added, err, r.TopicSessions(own))
					return
				}
				if i%2 == 0 {
					_, _ = r.Subscribe(s, "shared")
				} else {
					r.Unsubscribe(s, "shared")
				}
				if n := r.TopicSessions("shared"); n > 1 {
					t.Errorf("one session is %d members", n)
					return
				}
				if !r.Unsubscribe(s, own) || r.TopicSessions(own) != 0 {
					t.Error("Unsubscribe did not")
					return
				}
			}
		})
	}
	wg.Wait()
	r.check(t)
}

// Whoever stays is found, whatever the others do.
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
				var wave []*session // large enough that shards grow and shrink
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

// Every time that a timer was armed it fires once or is stopped once, and never early.
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
						continue // about to fire: a due time that is set now would look early
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
		t.Fatalf("%d are armed at the end", n)
	}
	for i := range counts {
		c := &counts[i]
		if a, f, s := c.armed.Load(), c.fired.Load(), c.stopped.Load(); a != f+s {
			t.Errorf("timer %d: armed %d times, fired %d, stopped %d", i, a, f, s)
		}
	}
}

// Everybody schedules and stops the same few timers, from inside fire too: whoever wins, the lists stay whole.
func TestWheelFight(t *testing.T) {
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
