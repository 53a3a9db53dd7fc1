package replay

import (
	"errors"
	"strings"
	"testing"
)

func nop() error { return nil }

// TestTopicPosition: a first-time subscriber starts at the end, and resumes at what
// was acknowledged.
func TestTopicPosition(t *testing.T) {
	g := newRig(t)
	g.store.append(topic("news"), "0", 0)
	g.clock.advance(tickInterval)
	r := g.connect("alice", AckByPong, "news")
	g.want(r, true)
	g.wantAcked(topic("news"), "alice", -1) // nothing is stored for a name alone
	g.push(topic("news"), "1", r)
	g.wantAcked(topic("news"), "alice", 1) // before the first message is sent
	g.want(r, false, "news1")
	g.close(r, 0)
	g.store.append(topic("news"), "2", 0)
	for _, answer := range []bool{false, true} {
		r = g.connect("alice", AckByPong, "news")
		g.want(r, answer, "news1", "news2")
		g.close(r, 0)
	}
	g.wantAcked(topic("news"), "alice", 3)
	g.clock.advance(tickInterval)
	// A remembered subscriber has a position at once.
	r = g.receiver("bob", AckByPong)
	g.Attach(r, Start{}, []Subscription{{Topic: "news", Remember: true}, {Topic: "empty", Remember: true}})
	r.phase = Open
	g.Open(r)
	g.work()
	g.wantAcked(topic("news"), "bob", 3)
	g.wantAcked(topic("empty"), "bob", 0)
	g.close(r, 0)
	g.store.append(topic("empty"), "3", 0)
	g.want(g.connect("bob", AckByPong, "empty"), true, "empty3")
}

// TestSubscribedBeforeStoreWasAsked: what is stored between the subscribe and the
// first look is for the client.
func TestSubscribedBeforeStoreWasAsked(t *testing.T) {
	g := newRig(t)
	g.store.append(topic("news"), "before", 0)
	g.clock.advance(tickInterval)
	r := g.receiver("alice", AckByPong)
	g.open(r, Start{}, "news")
	g.clock.advance(tickInterval)
	g.push(topic("news"), "1", r)
	g.work()
	g.want(r, true, "news1")
}

// TestSubscribeRacesOpen: a subscribe of the server finds the session between its
// entry in the registry and its opening.
func TestSubscribeRacesOpen(t *testing.T) {
	for _, before := range []string{"attach", "open", "work"} {
		g := newRig(t)
		g.store.append(topic("d.y"), "0", 0)
		g.clock.advance(tickInterval)
		r := g.receiver("alice", AckByPong)
		subscribe := func(at string) {
			if at != before {
				return
			}
			if added, err := g.Subscribe(r, Subscription{Topic: "d.x"}, nop); !added || err != nil {
				t.Errorf("%s: %v %v", before, added, err)
			}
			g.work()
		}
		subscribe("attach")
		g.Attach(r, Start{}, []Subscription{{Topic: "d.y", Start: Start{Resume: true}}, {Topic: "d.x"}})
		subscribeAgain, _ := g.Subscribe(r, Subscription{Topic: "d.y"}, nop)
		if subscribeAgain {
			t.Error("a topic of the handshake is new")
		}
		if before != "attach" {
			g.Unsubscribe(r, "d.x", func() {})
		}
		subscribe("open")
		r.phase = Open
		g.Open(r)
		subscribe("work")
		g.work()
		g.push(topic("d.x"), "1", r)
		g.push(topic("d.y"), "2", r)
		g.work()
		got := strings.Join(g.take(r, true), " ")
		if got != "d.y0 d.y2 d.x1" && got != "d.y0 d.x1 d.y2" && got != "d.x1 d.y0 d.y2" {
			t.Errorf("%s: got %q", before, got)
		}
	}
	// The session never opens.
	g := newRig(t)
	r := g.receiver("alice", AckByPong)
	g.Subscribe(r, Subscription{Topic: "d.x"}, nop)
	g.close(r, 0)
	if _, err := g.Subscribe(r, Subscription{Topic: "d.x"}, nop); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
	if n := g.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestUnsubscribe: nothing of the topic follows the confirmation, wherever the
// worker is.
func TestUnsubscribe(t *testing.T) {
	ops := []string{"", "last", "last, done", "acked", "acked, done", "read", "read, done", "get", "get, done"}
	for _, op := range ops {
		g := newRig(t)
		var stored []string
		for i := range 40 {
			stored = append(stored, strings.Repeat("x", 50)+string(rune('A'+i)))
			g.store.append(topic("news"), stored[i], 0)
		}
		r := g.connect("alice", AckExplicit)
		g.store.hook = func(at string) {
			if at == op {
				g.store.hook = nil
				if !g.Unsubscribe(r, "news", func() { r.write(&wire{kind: "confirm", text: "confirmed"}) }) {
					t.Errorf("%s: was not subscribed", op)
				}
				g.push(topic("news"), "later", r)
			}
		}
		g.Subscribe(r, Subscription{Topic: "news", Start: Start{Resume: true}}, nop)
		if op == "acked" || op == "acked, done" {
			g.Unsubscribe(r, "news", func() {})
			g.Subscribe(r, Subscription{Topic: "news"}, nop) // from the position
		}
		g.work()
		if op == "" {
			g.Unsubscribe(r, "news", func() { r.write(&wire{kind: "confirm", text: "confirmed"}) })
			g.push(topic("news"), "later", r)
			g.run()
		}
		got := g.take(r, true)
		if got[len(got)-1] != "confirmed" {
			t.Errorf("%q: last is %q of %d", op, got[len(got)-1], len(got))
		}
	}
}

// TestSubscribeAndUnsubscribe: membership in the registry and the stream change
// together, also for a session without state.
func TestSubscribeAndUnsubscribe(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckByPong)
	left := 0
	if g.Unsubscribe(r, "news", func() { left++ }) || left != 1 {
		t.Errorf("left %d times", left)
	}
	full := errors.New("too many topics")
	if added, err := g.Subscribe(r, Subscription{Topic: "news"}, func() error { return full }); added || err != full {
		t.Errorf("%v %v", added, err)
	}
	if n := g.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
	for _, want := range []bool{true, false} {
		if added, err := g.Subscribe(r, Subscription{Topic: "news"}, nop); added != want || err != nil {
			t.Errorf("%v %v", added, err)
		}
	}
	g.work()
	for _, want := range []bool{true, false} {
		if g.Unsubscribe(r, "news", func() {}) != want {
			t.Errorf("removed: want %v", want)
		}
	}
	g.push(topic("news"), "1", r)
	g.run()
	g.want(r, true)
	g.close(r, 0)
	if g.Unsubscribe(r, "news", func() { left++ }); left != 2 {
		t.Error("leave is not called after the end")
	}
}

// TestConfirmationDoesNotWaitForTheInbox: a subscribe is confirmed though the
// client does not acknowledge its inbox.
func TestConfirmationDoesNotWaitForTheInbox(t *testing.T) {
	g := newRig(t)
	for range 40 {
		g.store.append(inboxOf("alice"), strings.Repeat("x", 90), 0)
	}
	r := g.connect("alice", AckExplicit)
	g.take(r, false)
	g.Subscribe(r, Subscription{Topic: "news"}, nop)
	g.work()
	g.want(r, false, "begin newse1@0 gap=false")
}

func TestRenew(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckByPong, "news", "empty")
	g.push(topic("news"), "1", r)
	g.take(r, true)
	g.clock.advance(g.store.RenewInterval())
	g.tick(g.clock.Now())
	if n := g.store.calls["renew news alice 1"]; n != 1 {
		t.Errorf("renewed %d times: %v", n, g.store.calls)
	}
	g.tick(g.clock.Now())
	if n := g.store.calls["renew news alice 1"]; n != 1 {
		t.Errorf("renewed %d times", n)
	}
}

// TestConfirmationInAFullQueue waits until a message that exceeds the queue has
// drained, and does not close the client.
func TestConfirmationInAFullQueue(t *testing.T) {
	g := newRig(t)
	g.store.append(inboxOf("alice"), strings.Repeat("x", 9000), 0)
	r := g.receiver("alice", AckExplicit)
	g.open(r, Start{})
	r.kernelMax = 1 // the hello
	g.work()
	g.Subscribe(r, Subscription{Topic: "news"}, nop)
	g.run()
	if r.phase != Open || len(r.queue) != 1 {
		t.Fatalf("phase %d, %d in the queue", r.phase, len(r.queue))
	}
	r.kernelMax = 100
	r.drain()
	g.run()
	if got := g.take(r, true); len(got) != 3 || got[2] != "begin newse1@0 gap=false" {
		t.Errorf("got %d messages", len(got))
	}
}
