package registry

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestAgainstMaps runs the same random operations on a registry and on maps.
func TestAgainstMaps(t *testing.T) {
	withoutRace(t)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := newRegistry(Limits{SessionsPerUser: 4, TopicsPerSession: 5})
		users := map[string][]*session{}
		subscribed := map[*session]map[string]bool{}
		var joined []*session
		name := func(n int) string { return fmt.Sprint(rng.IntN(n)) }
		for step := range 3000 {
			var s *session
			if len(joined) > 0 {
				s = joined[rng.IntN(len(joined))]
			}
			switch op := rng.IntN(10); {
			case op < 3 || s == nil:
				user, s := name(200), &session{}
				err := r.Join(user, s)
				if full := len(users[user]) == 4; full != (err != nil) {
					t.Fatalf("seed %d step %d: Join: %v, full: %v", seed, step, err, full)
				}
				if err == nil {
					users[user] = append(users[user], s)
					subscribed[s] = map[string]bool{}
					joined = append(joined, s)
				}
			case op < 7:
				topic := name(20)
				added, err := r.Subscribe(s, topic)
				old, full := subscribed[s][topic], len(subscribed[s]) == 5
				if (err != nil) != (full && !old) || added != (!full && !old) {
					t.Fatalf("seed %d step %d: Subscribe: %v, %v; old %v, full %v", seed, step, added, err, old, full)
				}
				if added {
					subscribed[s][topic] = true
				}
			case op < 8:
				topic := name(20)
				if r.Unsubscribe(s, topic) != subscribed[s][topic] {
					t.Fatalf("seed %d step %d: Unsubscribe", seed, step)
				}
				delete(subscribed[s], topic)
			default:
				if !r.Leave(s) {
					t.Fatalf("seed %d step %d: Leave", seed, step)
				}
				user := s.entry.User()
				users[user] = remove(users[user], s)
				if len(users[user]) == 0 {
					delete(users, user)
				}
				joined = remove(joined, s)
				delete(subscribed, s)
			}
			if step%100 == 0 {
				r.check(t)
				if r.Users() != len(users) || r.Sessions() != len(joined) {
					t.Fatalf("seed %d step %d: %d users, %d sessions, want %d, %d", seed, step, r.Users(), r.Sessions(), len(users), len(joined))
				}
			}
			user, topic := name(200), name(20)
			if !same(r.AppendUser(nil, user), users[user]) {
				t.Fatalf("seed %d step %d: user %s", seed, step, user)
			}
			var members []*session
			for s, topics := range subscribed {
				if topics[topic] {
					members = append(members, s)
				}
			}
			if !same(r.AppendTopic(nil, topic), members) {
				t.Fatalf("seed %d step %d: topic %s", seed, step, topic)
			}
		}
	}
}

func remove(list []*session, s *session) []*session {
	for i := range list {
		if list[i] == s {
			list[i] = list[len(list)-1]
			return list[:len(list)-1]
		}
	}
	return list
}
