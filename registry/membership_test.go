package registry

import "testing"

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
