package replay

import (
	"strings"
	"testing"
)

// TestMessageThatCannotBeEncoded: the first attempt ends the session, the second one
// skips the message with a gap; later sessions are not bothered with it.
func TestMessageThatCannotBeEncoded(t *testing.T) {
	for _, notified := range []bool{false, true} {
		var log strings.Builder
		g := newRig(t, func(c *Config) { c.Logger = logTo(&log) })
		b := inboxOf("alice")
		if !notified {
			g.store.append(b, "before", 0)
			g.store.append(b, "poison", 0)
			g.store.append(b, "after", 0)
		}
		connect := func() *receiver {
			r := g.receiver("alice", AckExplicit)
			r.dialect = "poison"
			g.open(r, Start{})
			g.work()
			return r
		}
		r := connect()
		if notified {
			g.push(b, "before", r)
			g.push(b, "poison", r)
			g.push(b, "after", r)
		}
		g.want(r, true, "begin e1@0 gap=false", "before")
		if r.failed == nil || r.phase != Ended || !strings.Contains(r.failed.Error(), `user "alice", topic "", offset 2`) {
			t.Fatalf("notified %v: the first attempt ends the session with %v", notified, r.failed)
		}
		g.close(r, 0)
		for range 3 {
			r = connect()
			g.want(r, true, "begin e1@0 gap=false", "before", "after gap")
			if r.failed != nil {
				t.Fatal(r.failed)
			}
			g.close(r, 0)
		}
		if s := g.Stats(); s.Skipped != 3 || s.Panics != 0 || s.Sessions != 0 {
			t.Errorf("notified %v: %+v", notified, s)
		}
		if n := strings.Count(log.String(), "stored message skipped"); n != 1 || !strings.Contains(log.String(), "user=alice") || !strings.Contains(log.String(), "offset=2") {
			t.Errorf("notified %v: logged %d times: %s", notified, n, log.String())
		}
		// A dialect that can encode the message gets it.
		r = g.connect("alice", AckByPong)
		g.want(r, true, "before", "poison", "after")
		g.wantAcked(b, "alice", 3)
	}
}

// TestSkipOfNotifiedMessage: two sessions of a user are connected. One of them ends,
// the other one skips the message when its notice comes, and is not counted as a
// receiver.
func TestSkipOfNotifiedMessage(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	var rs [2]*receiver
	for i := range rs {
		rs[i] = g.receiver("alice", AckExplicit)
		rs[i].dialect = "poison"
		g.open(rs[i], Start{})
	}
	g.work()
	m := g.store.append(b, "poison", 0)
	n := g.NewNotice(b, m.Offset, m.Prev, "poison")
	if g.Notify(rs[0], n) || rs[0].failed == nil {
		t.Errorf("first session: %v", rs[0].failed)
	}
	if g.Notify(rs[1], n) || rs[1].failed != nil {
		t.Errorf("second session: %v", rs[1].failed)
	}
	g.push(b, "next", rs[1])
	g.work()
	g.want(rs[1], true, "begin e1@0 gap=false", "next gap")
	if s := g.Stats(); s.Skipped != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}
