package registry

import "testing"

// TestMembershipStates runs each call while another call on the same membership is half done.
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
			f.Fatalf("%d subscribers after Subscribe, want 2", n)
		}
	}
	unsubscribe := func(f fixture, want bool) {
		f.Helper()
		if got := f.r.Unsubscribe(f.s, "x"); got != want {
			f.Fatalf("Unsubscribe = %v, want %v", got, want)
		}
		if n := f.r.TopicSessions("x"); n != 1 {
			f.Fatalf("%d subscribers after Unsubscribe, want 1", n)
		}
		if got := f.r.AppendTopics(nil, f.s); len(got) != 0 {
			f.Fatalf("subscribed to %q after Unsubscribe", got)
		}
	}
	// pendingOne: another Subscribe has added the membership to the list and not attached it yet.
	pendingOne := func(f fixture) *membership[*session] {
		m, added, err := f.r.addMembership(f.s, f.r.acquire("x"), 0)
		if !added || err != nil {
			f.Fatal(added, err)
		}
		return m
	}
	// detachedOne: another Unsubscribe has detached the membership and not removed it from the list yet.
	detachedOne := func(f fixture) *membership[*session] {
		subscribe(f, true)
		m := f.r.findMembership(f.s, "x")
		if !f.r.detach(m) {
			f.Fatal("detach of an attached membership returned false")
		}
		return m
	}
	attach := func(f fixture, m *membership[*session], want bool) {
		f.Helper()
		if got := f.r.attach(f.s, m); got != want {
			f.Fatalf("attach after that = %v, want %v", got, want)
		}
	}
	for _, test := range []struct {
		name string
		run  func(f fixture)
	}{
		{"Subscribe attaches a pending membership", func(f fixture) {
			m := pendingOne(f)
			subscribe(f, false)
			attach(f, m, true)
		}},
		{"Unsubscribe detaches a pending membership", func(f fixture) {
			m := pendingOne(f)
			unsubscribe(f, true)
			attach(f, m, false)
		}},
		{"Leave detaches a pending membership", func(f fixture) {
			m := pendingOne(f)
			f.r.Leave(f.s)
			attach(f, m, false)
		}},
		{"Subscribe replaces a detached membership", func(f fixture) {
			m := detachedOne(f)
			subscribe(f, true)
			f.r.removeMembership(f.s, m)
		}},
		{"Unsubscribe ignores a detached membership", func(f fixture) {
			m := detachedOne(f)
			unsubscribe(f, false)
			f.r.removeMembership(f.s, m)
		}},
		{"Leave ignores a detached membership", func(f fixture) {
			m := detachedOne(f)
			f.r.Leave(f.s)
			f.r.removeMembership(f.s, m)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := fixture{t, newRegistry(Limits{}), nil}
			if _, err := f.r.Subscribe(join(t, f.r, "other"), "x"); err != nil {
				t.Fatal(err)
			}
			f.s = join(t, f.r, "one")
			test.run(f)
			f.r.check(t)
		})
	}
}
