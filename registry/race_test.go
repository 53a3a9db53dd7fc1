package registry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
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
