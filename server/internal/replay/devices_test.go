package replay

import (
	"slices"
	"testing"
	"time"
)

// TestDeviceThatAcknowledgesFirst: two devices of a user are connected, and one of them
// acknowledges a message before the store is asked for the other one.
func TestDeviceThatAcknowledgesFirst(t *testing.T) {
	for _, test := range []struct {
		name string
		// stored before the devices connect, and acknowledged
		before  []string
		skew    time.Duration
		prepare func(g *rig, phone, tablet *receiver)
		want    []string
	}{
		{"empty inbox", nil, 0, nil, []string{"m1", "m2"}},
		{"everything is read", []string{"a", "b"}, 0, nil, []string{"m1", "m2"}},
		{"everything is read, clocks differ", []string{"a", "b"}, 2 * time.Second, nil, []string{"m1", "m2"}},
		{"the store was opened again", []string{"a", "b"}, 0, func(g *rig, _, _ *receiver) {
			g.store.reopen()
			g.recheck()
		}, []string{"m1", "m2"}},
		{"a subscribe and an unsubscribe", []string{"a", "b"}, 0, func(g *rig, _, tablet *receiver) {
			g.Subscribe(tablet, Subscription{Topic: "news"}, func() error { return nil })
			g.Unsubscribe(tablet, "news", func() {})
		}, []string{"m1", "m2"}},
	} {
		g := newRig(t)
		g.store.skew = test.skew
		b := inboxOf("alice")
		for _, text := range test.before {
			g.store.append(b, text, 0)
		}
		r := g.connect("alice", AckByPong)
		g.want(r, true, test.before...)
		g.close(r, 0)
		g.clock.advance(time.Minute) // more than the clocks differ
		phone, tablet := g.connect("alice", AckByPong), g.connect("alice", AckByPong)
		if n := g.Stats().Sessions; n != 0 {
			t.Fatalf("%s: %d sessions have state", test.name, n)
		}
		if test.prepare != nil {
			test.prepare(g, phone, tablet)
			g.work()
		}
		g.push(b, "m1", phone)
		g.work()
		g.want(phone, true, "m1")
		m := g.store.append(b, "m2", 0)
		n := g.NewNotice(b, m.Offset, m.Prev, "m2")
		g.Notify(phone, n)
		g.want(phone, true, "m2")
		g.wantAcked(b, "alice", int(m.Offset))
		g.Notify(tablet, n) // the notice of m1 was lost
		g.work()
		g.want(tablet, true, test.want...)
	}
}

// TestDeviceThatAcknowledgesBeforeTheFirstLook: a session is open, and waits for a
// worker, when a message is stored and acknowledged by another device.
func TestDeviceThatAcknowledgesBeforeTheFirstLook(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit, AckNone} {
		g := newRig(t)
		b := inboxOf("alice")
		phone := g.connect("alice", AckByPong)
		g.push(b, "old", phone)
		g.work()
		g.want(phone, true, "old")
		tablet := g.receiver("alice", mode)
		g.open(tablet, Start{})
		m := g.store.append(b, "new", 0)
		g.Notify(phone, g.NewNotice(b, m.Offset, m.Prev, "new"))
		g.want(phone, true, "new")
		g.wantAcked(b, "alice", int(m.Offset))
		g.work()
		want := []string{"new"}
		if mode == AckExplicit {
			want = []string{"begin e1@1 gap=false", "new"}
		}
		g.want(tablet, true, want...)
	}
}

// TestLocateAfterRemoval: the messages that were acknowledged have been removed. That
// nothing is left from before the session opened does not make it begin at 0.
func TestLocateAfterRemoval(t *testing.T) {
	for _, test := range []struct {
		name    string
		pushed  int // after the removal
		damaged uint64
		want    []string
	}{
		{"nothing is left", 0, 0, []string{"begin e1@2 gap=false"}},
		{"something newer", 1, 0, []string{"begin e1@2 gap=false", "m3"}},
		{"acknowledged by another device", 2, 0, []string{"begin e1@2 gap=false", "m3", "m4"}},
		{"damaged", 2, 3, []string{"begin e1@0 gap=true", "m4"}},
	} {
		g := newRig(t)
		b := inboxOf("alice")
		phone := g.connect("alice", AckByPong)
		g.push(b, "m1", phone)
		g.push(b, "m2", phone)
		g.work()
		g.want(phone, true, "m1", "m2")
		g.store.removeFirst(b)
		g.store.removeFirst(b)
		tablet := g.receiver("alice", AckExplicit)
		g.open(tablet, Start{})
		for i := range test.pushed {
			g.store.append(b, "m"+itoa(uint64(i)+3), 0)
		}
		if test.pushed == 2 {
			g.store.Ack(b, "alice", 3)
		}
		if test.damaged > 0 {
			g.store.damaged[test.damaged] = true
		}
		g.run()
		if got := g.take(tablet, true); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestReconnectWithinClockSkew: a message is stored and acknowledged by another device
// before the first look at a store with another clock, and its notice comes later or never.
// The session gets it. What was acknowledged before the session opened comes again only if
// the store cannot tell.
func TestReconnectWithinClockSkew(t *testing.T) {
	for _, notice := range []string{"", "last, done", "acked, done"} {
		g := newRig(t)
		g.store.skew = 2 * time.Second
		b := inboxOf("alice")
		phone := g.connect("alice", AckByPong)
		g.push(b, "m1", phone)
		g.work()
		g.want(phone, true, "m1")
		g.clock.advance(time.Hour)
		g.push(b, "m2", phone)
		g.work()
		g.want(phone, true, "m2")

		tablet := g.receiver("alice", AckByPong)
		g.open(tablet, Start{})
		m := g.store.append(b, "m3", 0)
		g.store.Ack(b, "alice", m.Offset) // by the phone
		g.store.hook = func(op string) {
			if op == notice {
				g.store.hook = nil
				g.Notify(tablet, g.NewNotice(b, m.Offset, m.Prev, "m3"))
			}
		}
		g.work()
		g.want(tablet, true, "m2", "m3") // m2 was stored less than the skew ago
	}
}

// TestLeftPositions: where a session without state goes on is kept while it is open, and
// only if its inbox is not empty.
func TestLeftPositions(t *testing.T) {
	g := newRig(t)
	kept := func() (n int) {
		for i := range g.shards {
			n += len(g.shards[i].left)
		}
		return n
	}
	g.store.append(inboxOf("alice"), "old", 0)
	r := g.connect("alice", AckByPong)
	g.want(r, true, "old")
	g.close(r, 0)
	var rs []*receiver
	for range 3 {
		rs = append(rs, g.connect("alice", AckByPong), g.connect("bob", AckByPong))
	}
	if n := kept(); n != 3 || g.Stats().Sessions != 0 {
		t.Errorf("%d positions are kept for three sessions: %+v", n, g.Stats())
	}
	for _, r := range rs {
		g.close(r, 0)
	}
	if n := kept(); n != 0 {
		t.Errorf("%d positions are left", n)
	}
}
