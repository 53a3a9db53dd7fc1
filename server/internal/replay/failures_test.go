package replay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// limited reads like a client with a limit for messages: it returns what it has
// read, and whether it closes with 1009.
func limited(g *rig, r *receiver, limit int) (got []string, tooBig bool) {
	for w := r.read(); w != nil; w = r.read() {
		switch {
		case w.kind == "ping":
			g.Pong(r, []byte(w.text))
			g.work()
		case w.size > limit:
			g.close(r, codeTooBig)
			return got, true
		default:
			got = append(got, w.String())
		}
	}
	return got, false
}

// TestTooBigMessage: the client closes with 1009 twice, then the message is
// skipped, and what follows it comes.
func TestTooBigMessage(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit, AckNone} {
		g := newRig(t)
		b := inboxOf("alice")
		g.store.append(b, "before", 0)
		large := strings.Repeat("L", 300)
		g.store.append(b, large, 0)
		g.store.append(b, strings.Repeat("l", 200), 0)
		g.store.append(b, "after", 0)
		closes := 0
		var all []string
		for range 8 {
			r := g.connect("alice", mode)
			got, tooBig := limited(g, r, 100)
			all = append(all, got...)
			if !tooBig {
				break
			}
			closes++
		}
		announced := slices.ContainsFunc(all, func(s string) bool { return strings.HasSuffix(s, " gap") || strings.HasSuffix(s, "gap=true") })
		if closes > 4 || !slices.Contains(all, "before") || !strings.HasPrefix(all[len(all)-1], "after") || !announced && mode != AckByPong {
			t.Errorf("mode %d: %d closes, got %q", mode, closes, all)
		}
		if s := g.Stats(); s.TooBig != 4 || s.Skipped < 2 || s.Gaps == 0 {
			t.Errorf("mode %d: %+v", mode, s)
		}
		// Another user of the topic, and another message, are not concerned.
		if g.failures.count(failureKey{user: "bob", box: b, epoch: "e1", offset: 2}) != 0 || g.failures.count(failureKey{user: "alice", box: b, epoch: "e1", offset: 1}) != 0 {
			t.Errorf("mode %d: another message is counted", mode)
		}
	}
}

// TestTooBigLiveMessage: the stored message that was in flight at the time is
// accepted when it comes again, and is forgotten.
func TestTooBigLiveMessage(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	for range 3 {
		g.store.append(b, "stored", 0)
		r := g.connect("alice", AckByPong)
		g.close(r, codeTooBig)
		r = g.connect("alice", AckByPong)
		g.want(r, true, "stored")
		g.close(r, codeTooBig)
	}
	if s := g.Stats(); s.Skipped != 0 || s.TooBig != 3 || g.failures.some.Load() {
		t.Errorf("%+v", s)
	}
	// Only 1009 counts, and not after messages were discarded.
	g.store.append(b, "stored", 0)
	for _, code := range []int{0, 1000, 1001, 1006, 1008, 1013} {
		g.close(g.connect("alice", AckByPong), code)
	}
	r := g.connect("alice", AckByPong)
	g.Discard(r)
	g.close(r, codeTooBig)
	if s := g.Stats(); s.TooBig != 3 {
		t.Errorf("%+v", s)
	}
}

// TestFailedMessageGoesAlone: the second time nothing else is in flight.
func TestFailedMessageGoesAlone(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	for i := range 5 {
		g.store.append(b, strings.Repeat("x", 50+i%3*10), 0)
	}
	g.close(g.connect("alice", AckByPong), codeTooBig) // the third is the largest
	r := g.connect("alice", AckByPong)
	count := func() (n int) {
		for w := r.read(); w != nil; w = r.read() {
			if w.kind == "ping" {
				defer func() { g.Pong(r, []byte(w.text)); g.work() }()
			} else {
				n++
			}
		}
		return n
	}
	for i, want := range []int{2, 1, 2, 0} {
		if n := count(); n != want {
			t.Errorf("round trip %d: %d messages, want %d", i, n, want)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	var r failures
	key := func(i int) failureKey { return failureKey{user: fmt.Sprint(i)} }
	for i := range 3 * mostFailures {
		r.add(key(i))
		r.add(key(i))
	}
	if len(r.counts) != mostFailures || len(r.order) != mostFailures {
		t.Errorf("%d counts, %d in order", len(r.counts), len(r.order))
	}
	if r.count(key(0)) != 0 || r.count(key(3*mostFailures-1)) != 2 {
		t.Error("the oldest entries must make room")
	}
	for i := range 3 * mostFailures {
		r.forget(key(i))
	}
	if len(r.counts) != 0 || r.order != nil || r.some.Load() {
		t.Error("something is left")
	}
}
