package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func join(tb testing.TB, r *Registry[*session], user string) *session {
	tb.Helper()
	s := &session{}
	if err := r.Join(user, s); err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestSubscribe(t *testing.T) {
	r := New[*session](Limits{})
	a, b := join(t, r, "a"), join(t, r, "b")
	subscribe := func(s *session, topic string, want bool) {
		t.Helper()
		if added, err := r.Subscribe(s, topic); added != want || err != nil {
			t.Fatalf("Subscribe = %v, %v, want %v", added, err, want)
		}
		r.check(t)
	}
	unsubscribe := func(s *session, topic string, want bool) {
		t.Helper()
		if got := r.Unsubscribe(s, topic); got != want {
			t.Fatalf("Unsubscribe = %v, want %v", got, want)
		}
		r.check(t)
	}
	members := func(topic string, want ...*session) {
		t.Helper()
		if got := r.AppendTopic(nil, topic); !same(got, want) || r.TopicSessions(topic) != len(want) {
			t.Fatalf("%s has %d members, says %d, want %d", topic, len(got), r.TopicSessions(topic), len(want))
		}
	}
	unsubscribe(a, "x", false)
	subscribe(a, "x", true)
	subscribe(a, "x", false)
	subscribe(b, "x", true)
	subscribe(b, "y", true)
	members("x", a, b)
	members("y", b)
	members("z")
	if n := r.Topics(); n != 2 {
		t.Fatalf("%d topics, want 2", n)
	}
	if got := r.AppendTopics(nil, b); !same(got, []string{"x", "y"}) {
		t.Fatalf("b follows %q", got)
	}
	unsubscribe(a, "y", false)
	unsubscribe(a, "x", true)
	unsubscribe(a, "x", false)
	members("x", b)
	subscribe(a, "x", true)
	r.Leave(b)
	r.check(t)
	members("x", a)
	members("y")
	unsubscribe(b, "x", false)
	if got := r.AppendTopics(nil, b); len(got) != 0 {
		t.Fatalf("b follows %q when it has left", got)
	}
	r.Leave(a)
	r.check(t)
	if n := r.Topics(); n != 0 {
		t.Fatalf("%d topics are left", n)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	subscribe := func(t *testing.T, r *Registry[*session], s *session, topic string, want error) {
		t.Helper()
		topics := r.Topics()
		if added, err := r.Subscribe(s, topic); added || !errors.Is(err, want) {
			t.Fatalf("Subscribe = %v, %v, want %v", added, err, want)
		}
		if r.Topics() != topics {
			t.Fatal("an empty topic stays behind")
		}
		r.check(t)
	}
	t.Run("not joined", func(t *testing.T) {
		r := New[*session](Limits{})
		subscribe(t, r, &session{}, "x", ErrGone)
		if r.Unsubscribe(&session{}, "x") || r.AppendTopics(nil, &session{}) != nil {
			t.Fatal("a session that never joined has a topic")
		}
	})
	t.Run("gone", func(t *testing.T) {
		r := New[*session](Limits{})
		s := join(t, r, "a")
		r.Leave(s)
		subscribe(t, r, s, "x", ErrGone)
	})
	t.Run("bad name", func(t *testing.T) {
		r := New[*session](Limits{})
		subscribe(t, r, join(t, r, "a"), "\x00", ErrName)
	})
	for _, test := range []struct {
		name        string
		limit, want int
	}{{"default", 0, 100}, {"never unlimited", -7, 100}, {"one", 1, 1}} {
		t.Run("too many topics, "+test.name, func(t *testing.T) {
			r := New[*session](Limits{TopicsPerSession: test.limit})
			s := join(t, r, "a")
			for i := range test.want {
				if _, err := r.Subscribe(s, fmt.Sprint(i)); err != nil {
					t.Fatalf("topic %d: %v", i, err)
				}
			}
			subscribe(t, r, s, "one more", ErrTooManyTopics)
			if added, err := r.Subscribe(s, "0"); added || err != nil {
				t.Fatalf("one that it has: %v, %v", added, err)
			}
			r.Unsubscribe(s, "0")
			if _, err := r.Subscribe(s, "one more"); err != nil {
				t.Fatalf("when there is room again: %v", err)
			}
		})
	}
}

// What a call finds that comes while another one is half done.
func TestMembershipStates(t *testing.T) {
	type fixture struct {
		*testing.T
		r *Registry[*session]
		s *session
	}
	subscribe := func(f fixture, want bool) {
		f.Helper()
		if added, err := f.r.Subscribe(f.s, "x"); added != want || err != nil {
			f.Fatalf("Subscribe = %v, %v, want %v", added, err, want)
		}
		if n := f.r.TopicSessions("x"); n != 2 {
			f.Fatalf("%d members when Subscribe has returned, want 2", n)
		}
	}
	unsubscribe := func(f fixture, want bool) {
		f.Helper()
		if got := f.r.Unsubscribe(f.s, "x"); got != want {
			f.Fatalf("Unsubscribe = %v, want %v", got, want)
		}
		if n := f.r.TopicSessions("x"); n != 1 {
			f.Fatalf("%d members when Unsubscribe has returned, want 1", n)
		}
		if got := f.r.AppendTopics(nil, f.s); len(got) != 0 {
			f.Fatalf("follows %q when Unsubscribe has returned", got)
		}
	}
	// begun: another Subscribe has put the membership on the list only.
	begun := func(f fixture) *membership[*session] {
		m, added, err := f.r.enlist(f.s, f.r.acquire("x"))
		if !added || err != nil {
			f.Fatal(added, err)
		}
		return m
	}
	// ending: another Unsubscribe has detached the membership, and not yet taken it off the list.
	ending := func(f fixture) *membership[*session] {
		subscribe(f, true)
		m := f.r.membershipOf(f.s, "x")
		if !f.r.detach(m) {
			f.Fatal("detach of an attached membership returned false")
		}
		return m
	}
	attach := func(f fixture, m *membership[*session], want bool) {
		f.Helper()
		if got := f.r.attach(f.s, m); got != want {
			f.Fatalf("the late attach = %v, want %v", got, want)
		}
	}
	for _, test := range []struct {
		name string
		run  func(f fixture)
	}{
		{"Subscribe finds one begun, and completes it", func(f fixture) {
			m := begun(f)
			subscribe(f, false)
			attach(f, m, true)
		}},
		{"Unsubscribe finds one begun, and ends it", func(f fixture) {
			m := begun(f)
			unsubscribe(f, true)
			attach(f, m, false)
		}},
		{"Leave finds one begun, and ends it", func(f fixture) {
			m := begun(f)
			f.r.Leave(f.s)
			attach(f, m, false)
		}},
		{"Subscribe finds one ending, and begins another", func(f fixture) {
			m := ending(f)
			subscribe(f, true)
			f.r.delist(f.s, m)
		}},
		{"Unsubscribe finds one ending, and has nothing to do", func(f fixture) {
			m := ending(f)
			unsubscribe(f, false)
			f.r.delist(f.s, m)
		}},
		{"Leave finds one ending", func(f fixture) {
			m := ending(f)
			f.r.Leave(f.s)
			f.r.delist(f.s, m)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := fixture{t, New[*session](Limits{}), nil}
			if _, err := f.r.Subscribe(join(t, f.r, "other"), "x"); err != nil {
				t.Fatal(err)
			}
			f.s = join(t, f.r, "one")
			test.run(f)
			f.r.check(t)
		})
	}
}

// One copy of a topic's name serves all its members.
func TestTopicNameIsShared(t *testing.T) {
	r := New[*session](Limits{})
	var first string
	for i := range 10 {
		s := join(t, r, fmt.Sprint("user", i))
		if _, err := r.Subscribe(s, fmt.Sprint("ne", "ws")); err != nil {
			t.Fatal(err)
		}
		name := r.AppendTopics(nil, s)[0]
		if first == "" {
			first = name
		}
		if unsafe.StringData(name) != unsafe.StringData(first) {
			t.Fatalf("member %d has a copy", i)
		}
	}
}

// A topic gives back the room of members that have left.
func TestTopicShrinks(t *testing.T) {
	r := New[*session](Limits{})
	var all []*session
	for i := range 10_000 {
		all = append(all, join(t, r, fmt.Sprint(i)))
		if _, err := r.Subscribe(all[i], "x"); err != nil {
			t.Fatal(err)
		}
	}
	members := all[0].entry.topics.topic
	for i, s := range all {
		r.Unsubscribe(s, "x")
		if n, room := len(members.members), cap(members.members); room > 16 && n*4 < room-4 && i < len(all)-1 {
			t.Fatalf("room for %d, %d used", room, n)
		}
	}
	r.check(t)
}

// TestAgainstMaps does the same random things to a registry and to maps.
func TestAgainstMaps(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := New[*session](Limits{SessionsPerUser: 4, TopicsPerSession: 5})
		users := map[string][]*session{}
		follows := map[*session]map[string]bool{}
		var here []*session
		name := func(n int) string { return fmt.Sprint(rng.IntN(n)) }
		for step := range 3000 {
			var s *session
			if len(here) > 0 {
				s = here[rng.IntN(len(here))]
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
					follows[s] = map[string]bool{}
					here = append(here, s)
				}
			case op < 7:
				topic := name(20)
				added, err := r.Subscribe(s, topic)
				old, full := follows[s][topic], len(follows[s]) == 5
				if (err != nil) != (full && !old) || added != (!full && !old) {
					t.Fatalf("seed %d step %d: Subscribe: %v, %v; old %v, full %v", seed, step, added, err, old, full)
				}
				if added {
					follows[s][topic] = true
				}
			case op < 8:
				topic := name(20)
				if r.Unsubscribe(s, topic) != follows[s][topic] {
					t.Fatalf("seed %d step %d: Unsubscribe", seed, step)
				}
				delete(follows[s], topic)
			default:
				if !r.Leave(s) {
					t.Fatalf("seed %d step %d: Leave", seed, step)
				}
				user := s.entry.User()
				users[user] = remove(users[user], s)
				if len(users[user]) == 0 {
					delete(users, user)
				}
				here = remove(here, s)
				delete(follows, s)
			}
			if step%100 == 0 {
				r.check(t)
				if r.Users() != len(users) || r.Sessions() != len(here) {
					t.Fatalf("seed %d step %d: %d users, %d sessions, want %d, %d", seed, step, r.Users(), r.Sessions(), len(users), len(here))
				}
			}
			user, topic := name(200), name(20)
			if !same(r.AppendUser(nil, user), users[user]) {
				t.Fatalf("seed %d step %d: user %s", seed, step, user)
			}
			var members []*session
			for s, topics := range follows {
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
