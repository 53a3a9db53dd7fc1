package registry

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// check fails the test if r is inconsistent. No other call may run at the same time.
func (r *Registry[S]) check(tb testing.TB) {
	tb.Helper()
	var none S
	listed, attached := 0, 0
	for i := range r.users {
		sh := &r.users[i]
		n := 0
		sh.users.check(tb, func(first S) uint64 { return maphash.String(r.seed, r.entry(first).user) })
		sh.users.each(func(mark uint32, first S) {
			user := r.entry(first).user
			if (mark&chained != 0) != (r.entry(first).next != none) {
				tb.Fatalf("%q is marked %#x", user, mark)
			}
			for s := first; s != none; s = r.entry(s).next {
				n++
				e := r.entry(s)
				if e.user != user || unsafe.StringData(e.user) != unsafe.StringData(user) {
					tb.Fatalf("session of %q in the chain of %q", e.user, user)
				}
				if e.topics == &r.left {
					tb.Fatalf("a session of %q has left and is still in the table", user)
				}
				for m := e.topics; m != nil; m = m.next {
					listed++
					if m.index < 0 || m.topic.members[m.index].session != s || m.topic.members[m.index].membership != m {
						tb.Fatalf("%q is not member %[3]d of %[2]q", user, m.topic.name, m.index)
					}
				}
			}
		})
		if n != int(sh.sessions) {
			tb.Fatalf("shard %d has %d sessions, says %d", i, n, sh.sessions)
		}
	}
	for i := range r.topics {
		sh := &r.topics[i]
		sh.topics.check(tb, func(t *topic[S]) uint64 { return t.hash })
		sh.topics.each(func(_ uint32, tp *topic[S]) {
			attached += len(tp.members)
			if int(tp.refs) != len(tp.members) || tp.refs == 0 {
				tb.Fatalf("topic %q: %d members, %d refs", tp.name, len(tp.members), tp.refs)
			}
			for k, m := range tp.members {
				if m.membership.index != int32(k) || m.membership.topic != tp {
					tb.Fatalf("topic %q: member %d has another index or topic", tp.name, k)
				}
			}
			for _, m := range tp.members[len(tp.members):cap(tp.members)] {
				if m.session != none {
					tb.Fatalf("topic %q refers to a session that left", tp.name)
				}
			}
		})
	}
	if listed != attached {
		tb.Fatalf("%d memberships in lists, %d in topics", listed, attached)
	}
}

// same reports whether a and b have the same elements, each once.
func same[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i, v := range a {
		if !slices.Contains(b, v) || slices.Contains(a[:i], v) {
			return false
		}
	}
	return true
}

func TestJoinAndLeave(t *testing.T) {
	r := newRegistry(Limits{})
	var a1, a2, a3, b1 session
	users := func(user string, want ...*session) {
		t.Helper()
		if got := r.AppendUser(nil, user); !same(got, want) {
			t.Fatalf("%s has %d sessions, want %d", user, len(got), len(want))
		}
	}
	leave := func(s *session, want bool) {
		t.Helper()
		if got := r.Leave(s); got != want {
			t.Fatalf("Leave = %v, want %v", got, want)
		}
		r.check(t)
	}
	leave(&a1, false)
	for _, j := range []struct {
		user string
		s    *session
	}{{"a", &a1}, {"a", &a2}, {"b", &b1}, {"a", &a3}} {
		if err := r.Join(j.user, j.s); err != nil {
			t.Fatal(err)
		}
		if got := j.s.entry.User(); got != j.user {
			t.Fatalf("User() = %q, want %q", got, j.user)
		}
		r.check(t)
	}
	users("a", &a1, &a2, &a3)
	users("b", &b1)
	users("c")
	if s, u := r.Sessions(), r.Users(); s != 4 || u != 2 {
		t.Fatalf("%d sessions of %d users, want 4 of 2", s, u)
	}
	leave(&a3, true) // in the middle of the chain: a session is inserted after the first
	leave(&a3, false)
	users("a", &a1, &a2)
	leave(&a1, true) // first of the chain
	users("a", &a2)
	leave(&a2, true)
	users("a")
	users("b", &b1)
	if got := a2.entry.User(); got != "a" {
		t.Fatalf("User() after Leave = %q", got)
	}
	leave(&b1, true)
	if s, u := r.Sessions(), r.Users(); s != 0 || u != 0 {
		t.Fatalf("%d sessions of %d users remain", s, u)
	}
}

func TestAppend(t *testing.T) {
	r := newRegistry(Limits{})
	var x, s session
	if err := r.Join("a", &s); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Subscribe(&s, "t"); err != nil {
		t.Fatal(err)
	}
	want := []*session{&x, &s}
	if got := r.AppendUser([]*session{&x}, "a"); !slices.Equal(got, want) {
		t.Error("AppendUser does not append")
	}
	if got := r.AppendTopic([]*session{&x}, "t"); !slices.Equal(got, want) {
		t.Error("AppendTopic does not append")
	}
	if got := r.AppendTopics([]string{"x"}, &s); !slices.Equal(got, []string{"x", "t"}) {
		t.Error("AppendTopics does not append")
	}
}

func TestJoinErrors(t *testing.T) {
	t.Run("bad names", func(t *testing.T) {
		r := newRegistry(Limits{})
		var s session
		if err := r.Join("a\nb", &s); !errors.Is(err, ErrName) {
			t.Fatalf("got %v, want ErrName", err)
		}
		if s.entry.User() != "" || r.Leave(&s) {
			t.Fatal("joined despite the error")
		}
		if err := r.Join("ab", &s); err != nil {
			t.Fatalf("second attempt: %v", err)
		}
	})
	for _, test := range []struct {
		name        string
		limit, want int
	}{{"default", 0, 16}, {"negative", -1, 16}, {"one", 1, 1}, {"three", 3, 3}} {
		t.Run("too many sessions, "+test.name, func(t *testing.T) {
			r := newRegistry(Limits{SessionsPerUser: test.limit})
			all := make([]session, test.want+1)
			for i := range test.want {
				if err := r.Join("a", &all[i]); err != nil {
					t.Fatalf("session %d: %v", i, err)
				}
			}
			last := &all[test.want]
			if err := r.Join("a", last); !errors.Is(err, ErrTooManySessions) {
				t.Fatalf("got %v, want ErrTooManySessions", err)
			}
			r.check(t)
			r.Leave(&all[0])
			if err := r.Join("a", last); err != nil {
				t.Fatalf("after a session left: %v", err)
			}
			r.check(t)
		})
	}
	t.Run("twice", func(t *testing.T) {
		r := newRegistry(Limits{})
		var s session
		if err := r.Join("a", &s); err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{"joined", "left"} {
			func() {
				defer func() {
					if msg, _ := recover().(string); !strings.HasPrefix(msg, "BUG:") {
						t.Errorf("%s: panic %q", state, msg)
					}
				}()
				_ = r.Join("b", &s)
			}()
			r.Leave(&s)
		}
	})
}

// Join and Subscribe copy names: callers pass strings that alias a buffer which they reuse.
func TestNamesAreCopied(t *testing.T) {
	r := newRegistry(Limits{})
	buf := []byte("alicenews")
	user, topic := unsafe.String(&buf[0], 5), unsafe.String(&buf[5], 4)
	var s session
	if err := r.Join(user, &s); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Subscribe(&s, topic); err != nil {
		t.Fatal(err)
	}
	copy(buf, "*********")
	if got := s.entry.User(); got != "alice" {
		t.Errorf("user %q", got)
	}
	if got := r.AppendTopics(nil, &s); !slices.Equal(got, []string{"news"}) {
		t.Errorf("topics %q", got)
	}
	if len(r.AppendUser(nil, "alice")) != 1 || len(r.AppendTopic(nil, "news")) != 1 {
		t.Error("not found")
	}
}

// Many sessions join, subscribe and leave: tables shrink again and the registry becomes empty.
func TestTablesShrink(t *testing.T) {
	withoutRace(t)
	r := newRegistry(Limits{})
	all := make([]session, 20_000)
	slots := func() (n int) {
		for i := range r.users {
			n += r.users[i].users.size()
		}
		return n
	}
	for wave := range 2 {
		for i := range all {
			all[i] = session{}
			if err := r.Join(fmt.Sprint("user-", i), &all[i]); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Subscribe(&all[i], fmt.Sprint("topic-", i%400)); err != nil {
				t.Fatal(err)
			}
		}
		r.check(t)
		if n := slots(); n > 2*len(all) {
			t.Fatalf("wave %d: %d slots for %d users", wave, n, len(all))
		}
		for i := range all {
			if i%100 != 0 {
				r.Leave(&all[i])
			}
		}
		r.check(t)
		if n := slots(); n > userShards*groupSlots+2*r.Users() {
			t.Fatalf("wave %d: %d slots for %d users after most have left", wave, n, r.Users())
		}
		for i := range all {
			r.Leave(&all[i])
		}
		r.check(t)
		if r.Users() != 0 || r.Topics() != 0 {
			t.Fatalf("wave %d: %d users, %d topics remain", wave, r.Users(), r.Topics())
		}
	}
}

// UserSessions counts the sessions of a user, and LeaveTopics returns what Leave ends.
func TestLeaveTopics(t *testing.T) {
	r := newRegistry(Limits{})
	s := join(t, r, "a")
	join(t, r, "a")
	for _, topic := range []string{"x", "y"} {
		if _, err := r.Subscribe(s, topic); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.UserSessions("a"); n != 2 {
		t.Errorf("%d sessions", n)
	}
	topics, left := r.LeaveTopics(s)
	slices.Sort(topics)
	if !left || !slices.Equal(topics, []string{"x", "y"}) {
		t.Errorf("%v %v", topics, left)
	}
	if topics, left := r.LeaveTopics(s); left || topics != nil {
		t.Errorf("again: %v %v", topics, left)
	}
	if n := r.UserSessions("a") + r.UserSessions("b"); n != 1 {
		t.Errorf("%d sessions left", n)
	}
	r.check(t)
}
