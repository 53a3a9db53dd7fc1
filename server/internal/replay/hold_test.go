package replay

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHoldUntilReplayed: what is pushed while older messages are on their way
// follows them.
func TestHoldUntilReplayed(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit, AckNone} {
		g := newRig(t)
		want := []string{"begin e1@0 gap=false"}[:mode&AckExplicit]
		for i := range 30 {
			text := strings.Repeat("x", 90) + string(rune('A'+i))
			g.store.append(inboxOf("alice"), text, 0)
			want = append(want, text)
		}
		r := g.receiver("alice", mode)
		g.open(r, Start{})
		g.live(r, "live 1")
		g.work()
		g.live(r, "live 2")
		g.want(r, true, append(want, "live 1", "live 2")...)
		if r.hold {
			t.Error("the hold goes on")
		}
		g.live(r, "live 3")
		g.want(r, true, "live 3")
	}
}

// TestHoldIsBounded: by bytes, and by time.
func TestHoldIsBounded(t *testing.T) {
	for _, test := range []struct {
		name string
		live []int // sizes
		wait time.Duration
		held int
	}{
		{"bytes", []int{300, 300, 300, 300}, 0, 2},
		{"one that is too large", []int{100, 900}, 0, 1},
		{"time", []int{10, 10}, holdTime, 2},
		{"less time", []int{10, 10}, holdTime - tickInterval, 2},
	} {
		g := newRig(t)
		for range 30 {
			g.store.append(inboxOf("alice"), strings.Repeat("x", 90), 0)
		}
		r := g.connect("alice", AckByPong)
		held := 0
		for i, size := range test.live {
			w := &wire{kind: "live", text: string(rune('a' + i)), size: size}
			if r.hold && g.Hold(r, w) {
				held++
			} else {
				r.WriteLive(w)
			}
		}
		if held != test.held {
			t.Errorf("%s: %d held, want %d", test.name, held, test.held)
		}
		g.clock.advance(test.wait)
		g.tick(g.clock.Now())
		got := g.take(r, false) // no ping is answered
		live := slices.DeleteFunc(got, func(s string) bool { return s[0] == 'x' })
		if released := len(live) == len(test.live); released != (test.name != "less time") {
			t.Errorf("%s: got %q", test.name, live)
		}
		if !slices.IsSorted(live) {
			t.Errorf("%s: order %q", test.name, live)
		}
	}
}

// TestHeldAndReplayFitTheQueue: a client that reads late, but is not slow, is not
// closed because live messages were held while stored ones were sent.
func TestHeldAndReplayFitTheQueue(t *testing.T) {
	for _, size := range []int{2, 20, 90, 400, 840} {
		for _, mode := range []AckMode{AckByPong, AckExplicit} {
			g := newRig(t)
			for range 50 {
				g.store.append(inboxOf("alice"), strings.Repeat("x", size), 0)
			}
			r := g.receiver("alice", mode)
			r.kernelMax = 0 // nothing is read for now
			g.open(r, Start{})
			lives := 0
			for sum := size + entryCost; sum <= g.mostHeld(); sum += size + entryCost {
				g.live(r, strings.Repeat("l", size))
				lives++
			}
			g.work()
			g.clock.advance(holdTime)
			g.tick(g.clock.Now())
			if r.phase != Open {
				t.Fatalf("size %d: closed", size)
			}
			r.kernelMax = 1 << 20
			got := 0
			for range 60 {
				r.drain()
				for _, text := range g.take(r, true) {
					if text[0] == 'l' {
						got++
					}
				}
				g.run()
			}
			if got != lives || r.phase != Open {
				t.Errorf("size %d: %d of %d live messages", size, got, lives)
			}
		}
	}
}

// TestHeldWaitForALargeMessage: one that exceeds the queue drains before live
// messages follow it, and the client is not closed.
func TestHeldWaitForALargeMessage(t *testing.T) {
	g := newRig(t)
	g.store.append(inboxOf("alice"), strings.Repeat("x", 9000), 0)
	r := g.receiver("alice", AckByPong)
	r.kernelMax = 0
	g.open(r, Start{})
	g.live(r, "live 1")
	g.work()
	g.run() // three seconds
	if g.live(r, "live 2"); r.phase != Open || len(r.queue) != 1 {
		t.Fatalf("phase %d, %d in the queue", r.phase, len(r.queue))
	}
	r.kernelMax = 100
	r.drain()
	g.run()
	got := g.take(r, true)
	if len(got) != 3 || got[1] != "live 1" || got[2] != "live 2" {
		t.Errorf("got %d messages", len(got))
	}
}

// TestHeldWhenSessionEnds: each held message is reported as written or as dropped.
func TestHeldWhenSessionEnds(t *testing.T) {
	held := func(g *rig) *receiver {
		for range 30 {
			g.store.append(inboxOf("alice"), strings.Repeat("x", 90), 0)
		}
		r := g.connect("alice", AckByPong)
		for _, text := range []string{"a", "b", "c"} {
			g.live(r, text)
		}
		return r
	}
	t.Run("client", func(t *testing.T) {
		g := newRig(t)
		r := held(g)
		g.close(r, 1000)
		if len(r.dropped) != 3 || g.Stats().Dropped != 3 {
			t.Errorf("dropped %v", r.dropped)
		}
	})
	t.Run("while flushed", func(t *testing.T) {
		g := newRig(t)
		r := held(g)
		r.check = func(w *wire) {
			if w.text == "a" {
				r.phase = Ended
			}
		}
		g.clock.advance(holdTime)
		g.tick(g.clock.Now())
		g.close(r, 0)
		if len(r.dropped) != 2 {
			t.Errorf("dropped %v", r.dropped)
		}
	})
	t.Run("in order", func(t *testing.T) {
		g := newRig(t)
		r := held(g)
		g.Flush(r)
		r.phase = Ended
		g.Detach(r, 0)
		got := g.take(r, false)
		if tail := got[len(got)-3:]; strings.Join(tail, "") != "abc" || len(r.dropped) != 0 {
			t.Errorf("got %q, dropped %v", tail, r.dropped)
		}
	})
	t.Run("after the end", func(t *testing.T) {
		g := newRig(t)
		r := held(g)
		g.close(r, 0)
		if g.Hold(r, &wire{kind: "live"}) {
			t.Error("held for a session that has ended")
		}
	})
}

// TestFlushBeforeOpen: the receiver is Open, gets a live message, and is closed in order
// before Service.Open is called.
func TestFlushBeforeOpen(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit} {
		g := newRig(t)
		r := g.receiver("alice", mode)
		g.attach(r, Start{}, nil)
		g.Flush(r) // nothing is held, and nothing may be written
		r.phase = Open
		if !g.live(r, "held") {
			t.Fatal("the message is not accepted")
		}
		g.Flush(r)
		want := []string{"held"}
		if mode == AckExplicit {
			want = []string{"begin?", "held"}
		}
		g.want(r, true, want...)
		g.close(r, 0)
		g.Open(r)
		g.work()
		if s := g.Stats(); s.Dropped != 0 || s.Sessions != 0 {
			t.Errorf("%+v", s)
		}
	}
}
