package replay

import (
	"strings"
	"testing"
	"time"
)

// TestNextMessageWithoutStore: a receiver that has no session, because it has everything, gets
// the next message of its inbox without a question to the store; after a gap the store is read.
func TestNextMessageWithoutStore(t *testing.T) {
	for _, test := range []struct {
		name     string
		stored   []string // when the receiver connects, and acknowledged
		missed   []string // notices that do not come
		reopened bool     // the epoch changed after the message was stored
		late     bool     // the notice of the last acknowledged message comes, too
		want     []string
		asks     bool
	}{
		{"empty inbox", nil, nil, false, false, []string{"new"}, false},
		{"acknowledged messages", []string{"a", "b"}, nil, false, false, []string{"new"}, false},
		{"late notice", []string{"a", "b"}, nil, false, true, []string{"new"}, false},
		{"first message missed", nil, []string{"m"}, false, false, []string{"m", "new"}, true},
		{"message missed", []string{"a"}, []string{"m"}, false, false, []string{"m", "new"}, true},
		{"another epoch", []string{"a"}, nil, true, false, []string{"new"}, true},
	} {
		g := newRig(t)
		b := inboxOf("alice")
		var last *Notice
		for _, text := range test.stored {
			m := g.store.append(b, text, 0)
			g.store.Ack(b, "alice", m.Offset)
			last = g.NewNotice(b, m.Offset, m.Prev, text)
		}
		g.clock.advance(time.Hour)
		r := g.connect("alice", AckByPong)
		if n := g.Stats().Sessions; n != 0 {
			t.Fatalf("%s: %d sessions", test.name, n)
		}
		if test.late && g.Notify(r, last) {
			t.Errorf("%s: the session counts for a message that it does not get", test.name)
		}
		if n := g.Stats().Sessions; n != 0 {
			t.Errorf("%s: %d sessions after a late notice", test.name, n)
		}
		for _, text := range test.missed {
			g.store.append(b, text, 0)
		}
		m := g.store.append(b, "new", 0)
		n := g.NewNotice(b, m.Offset, m.Prev, "new")
		if test.reopened {
			g.store.reopen()
		}
		g.store.calls = make(map[string]int)
		if !g.Notify(r, n) {
			t.Errorf("%s: the session does not count", test.name)
		}
		g.work()
		if asked := len(g.store.calls) > 0; asked != test.asks {
			t.Errorf("%s: asked the store: %v", test.name, g.store.calls)
		}
		g.want(r, true, test.want...)
	}
}

// TestNoticeOfEarlierMessage: a message was stored before the session subscribed, and its
// notice comes while the start of the subscription is being looked up, or later. The session
// receives the message if and only if it counts as a receiver, and the stored position of a
// subscriber that is remembered never covers it before that.
func TestNoticeOfEarlierMessage(t *testing.T) {
	for _, remember := range []bool{false, true} {
		for _, test := range []struct {
			at     string
			counts bool
		}{
			{"", true}, {"last, done", true}, {"acked, done", true}, {"before", true}, {"before, done", true},
			{"acksync", false}, {"acksync, done", false}, {"placed", false},
		} {
			if !remember && strings.HasPrefix(test.at, "acksync") {
				continue // is not called
			}
			g := newRig(t)
			b := topic("news")
			g.store.append(b, "0", 0)
			m := g.store.append(b, "1", 0)
			n := g.NewNotice(b, m.Offset, m.Prev, "1")
			g.clock.advance(time.Hour)
			r := g.receiver("alice", AckByPong)
			g.Attach(r, Start{}, []Subscription{{Topic: "news", Remember: remember}})
			r.phase = Open
			g.Open(r)
			announced, counts := false, false
			g.store.hook = func(op string) {
				if op == test.at {
					g.store.hook = nil
					announced, counts = true, g.Notify(r, n)
				}
			}
			g.store.hook("")
			g.work()
			if test.at == "placed" {
				g.store.hook("placed")
				g.work()
			}
			if !announced || counts != test.counts {
				t.Errorf("remember %v, at %q: announced %v, counts %v, want %v", remember, test.at, announced, counts, test.counts)
			}
			want := []string{"news2"}
			if test.counts {
				want = []string{"news1", "news2"}
			}
			if remember && test.counts {
				g.wantAcked(b, "alice", int(m.Prev))
			}
			g.push(b, "2", r)
			g.want(r, true, want...)
		}
	}
}
