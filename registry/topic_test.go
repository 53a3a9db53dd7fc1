package registry

import (
	"errors"
	"fmt"
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
	r := newRegistry(Limits{})
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
	subscribers := func(topic string, want ...*session) {
		t.Helper()
		if got := r.AppendTopic(nil, topic); !same(got, want) || r.TopicSessions(topic) != len(want) {
			t.Fatalf("%s has %d subscribers, TopicSessions = %d, want %d", topic, len(got), r.TopicSessions(topic), len(want))
		}
	}
	unsubscribe(a, "x", false)
	subscribe(a, "x", true)
	subscribe(a, "x", false)
	subscribe(b, "x", true)
	subscribe(b, "y", true)
	subscribers("x", a, b)
	subscribers("y", b)
	subscribers("z")
	if n := r.Topics(); n != 2 {
		t.Fatalf("%d topics, want 2", n)
	}
	if got := r.AppendTopics(nil, b); !same(got, []string{"x", "y"}) {
		t.Fatalf("b is subscribed to %q", got)
	}
	unsubscribe(a, "y", false)
	unsubscribe(a, "x", true)
	unsubscribe(a, "x", false)
	subscribers("x", b)
	subscribe(a, "x", true)
	r.Leave(b)
	r.check(t)
	subscribers("x", a)
	subscribers("y")
	unsubscribe(b, "x", false)
	if got := r.AppendTopics(nil, b); len(got) != 0 {
		t.Fatalf("b is subscribed to %q after it left", got)
	}
	r.Leave(a)
	r.check(t)
	if n := r.Topics(); n != 0 {
		t.Fatalf("%d topics remain", n)
	}
}

func TestSubscribeErrors(t *testing.T) {
	subscribe := func(t *testing.T, r *Registry[*session], s *session, topic string, want error) {
		t.Helper()
		topics := r.Topics()
		if added, err := r.Subscribe(s, topic); added || !errors.Is(err, want) {
			t.Fatalf("Subscribe = %v, %v, want %v", added, err, want)
		}
		if r.Topics() != topics {
			t.Fatal("an empty topic remains")
		}
		r.check(t)
	}
	t.Run("not joined", func(t *testing.T) {
		r := newRegistry(Limits{})
		subscribe(t, r, &session{}, "x", ErrNotJoined)
		if r.Unsubscribe(&session{}, "x") || r.AppendTopics(nil, &session{}) != nil {
			t.Fatal("a session that never joined has a topic")
		}
	})
	t.Run("left", func(t *testing.T) {
		r := newRegistry(Limits{})
		s := join(t, r, "a")
		r.Leave(s)
		subscribe(t, r, s, "x", ErrNotJoined)
	})
	t.Run("bad name", func(t *testing.T) {
		r := newRegistry(Limits{})
		subscribe(t, r, join(t, r, "a"), "\x00", ErrName)
	})
	for _, test := range []struct {
		name        string
		limit, want int
	}{{"default", 0, 100}, {"negative", -7, 100}, {"one", 1, 1}} {
		t.Run("too many topics, "+test.name, func(t *testing.T) {
			r := newRegistry(Limits{TopicsPerSession: test.limit})
			s := join(t, r, "a")
			for i := range test.want {
				if _, err := r.Subscribe(s, fmt.Sprint(i)); err != nil {
					t.Fatalf("topic %d: %v", i, err)
				}
			}
			subscribe(t, r, s, "one more", ErrTooManyTopics)
			if added, err := r.Subscribe(s, "0"); added || err != nil {
				t.Fatalf("already subscribed: %v, %v", added, err)
			}
			r.Unsubscribe(s, "0")
			if _, err := r.Subscribe(s, "one more"); err != nil {
				t.Fatalf("after Unsubscribe: %v", err)
			}
		})
	}
}

// All subscribers of a topic share one copy of its name.
func TestTopicNameIsShared(t *testing.T) {
	r := newRegistry(Limits{})
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
			t.Fatalf("subscriber %d has a copy", i)
		}
	}
}

// A topic releases memory when sessions unsubscribe.
func TestTopicShrinks(t *testing.T) {
	r := newRegistry(Limits{})
	var all []*session
	for i := range 10_000 {
		all = append(all, join(t, r, fmt.Sprint(i)))
		if _, err := r.Subscribe(all[i], "x"); err != nil {
			t.Fatal(err)
		}
	}
	topic := all[0].entry.topics.topic
	for i, s := range all {
		r.Unsubscribe(s, "x")
		if n, room := len(topic.members), cap(topic.members); room > 16 && n*4 < room-4 && i < len(all)-1 {
			t.Fatalf("room for %d, %d used", room, n)
		}
	}
	r.check(t)
}

// TestSubscribeWithin: a limit of the session holds below the general one, not above.
func TestSubscribeWithin(t *testing.T) {
	for _, tt := range []struct{ most, want int }{{0, 3}, {1, 1}, {2, 2}, {9, 3}} {
		r := newRegistry(Limits{TopicsPerSession: 3})
		s, n := join(t, r, "alice"), 0
		for i := range 5 {
			added, err := r.SubscribeWithin(s, string(rune('a'+i)), tt.most)
			if added {
				n++
			} else if !errors.Is(err, ErrTooManyTopics) {
				t.Errorf("most %d: %v", tt.most, err)
			}
		}
		if added, err := r.SubscribeWithin(s, "a", tt.most); added || err != nil {
			t.Errorf("most %d, subscribed already: %t, %v", tt.most, added, err)
		}
		if n != tt.want {
			t.Errorf("most %d: %d subscriptions, want %d", tt.most, n, tt.want)
		}
	}
}

func TestSubscribed(t *testing.T) {
	r, s := newRegistry(Limits{}), new(session)
	subscribed := func(want bool) {
		t.Helper()
		if r.Subscribed(s, "a") != want || r.Subscribed(s, "b") {
			t.Errorf("Subscribed: %v and %v, want %v and false", r.Subscribed(s, "a"), r.Subscribed(s, "b"), want)
		}
	}
	subscribed(false)
	r.Join("u", s)
	subscribed(false)
	r.Subscribe(s, "a")
	subscribed(true)
	r.Unsubscribe(s, "a")
	subscribed(false)
	r.Subscribe(s, "a")
	r.Leave(s)
	subscribed(false)
}
