package replay

import (
	"context"
	"strings"
	"testing"
	"time"

	"fanfare/server/store"
)

func TestLoginWithNothingStored(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckNone} {
		g := newRig(t)
		r := g.connect("alice", mode)
		if n := g.Stats().Sessions; n != 0 || r.hold {
			t.Errorf("mode %d: %d sessions, hold %v", mode, n, r.hold)
		}
		if g.store.calls["last"] != 1 || len(g.store.calls) != 1 {
			t.Errorf("mode %d: store calls %v", mode, g.store.calls)
		}
		// The next message is found all the same.
		g.push(inboxOf("alice"), "one", r)
		g.work()
		g.want(r, true, "one")
		if n := g.Stats().Sessions; n != 1 {
			t.Errorf("mode %d: %d sessions", mode, n)
		}
		g.close(r, 0)
		if n := g.Stats().Sessions; n != 0 {
			t.Errorf("mode %d: %d sessions after the end", mode, n)
		}
	}
	g := newRig(t)
	r := g.connect("alice", AckExplicit)
	g.want(r, true, "begin e1@0 gap=false")
	if n := g.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions: explicit acks need one", n)
	}
}

func TestReplayUntilAcknowledged(t *testing.T) {
	g := newRig(t)
	g.push(inboxOf("alice"), "one")
	g.push(inboxOf("bob"), "not for alice")
	last := g.push(inboxOf("alice"), "two")
	for range 2 { // without a pong it comes again
		r := g.connect("alice", AckByPong)
		g.want(r, false, "one", "two")
		g.close(r, 0)
	}
	r := g.connect("alice", AckByPong)
	g.want(r, true, "one", "two")
	g.wantAcked(inboxOf("alice"), "alice", int(last))
	last = g.push(inboxOf("alice"), "three", r)
	g.want(r, true, "three") // at once, without a worker
	g.wantAcked(inboxOf("alice"), "alice", int(last))
	g.close(r, 0)
	if r = g.connect("alice", AckByPong); g.Stats().Sessions != 0 {
		t.Error("a session that has read everything has state")
	}
	g.want(r, true)
}

// TestWindow: a replay stays within the window, and goes on with each pong.
func TestWindow(t *testing.T) {
	for _, noPings := range []bool{false, true} {
		g := newRig(t)
		var want []string
		for i := range 40 {
			text := strings.Repeat("x", 90) + string(rune('A'+i))
			g.push(inboxOf("alice"), text)
			want = append(want, text)
		}
		r := g.receiver("alice", AckByPong)
		r.noPings = noPings
		r.kernelMax = 3
		g.open(r, Start{})
		g.work()
		if n := r.Queued(); n > g.cfg.Window {
			t.Errorf("%d bytes in the queue", n)
		}
		if n := g.Stats().Replayed; !noPings && n != 8 { // 8 × (91+32) < 1000
			t.Errorf("%d messages in flight", n)
		}
		var got []string
		for len(got) < len(want) {
			n := len(got)
			got = append(got, g.take(r, true)...)
			if len(got) == n {
				g.run() // without pings the clock goes on
			}
			if len(got) == n && len(r.kernel) == 0 {
				t.Fatalf("stuck after %d messages", n)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q", got)
		}
	}
}

// TestWindowWithoutKernel: on a connection whose every write is queued first, the
// window fills as it does on any other.
func TestWindowWithoutKernel(t *testing.T) {
	g := newRig(t)
	for range 20 {
		g.push(inboxOf("alice"), strings.Repeat("x", 68))
	}
	r := g.receiver("alice", AckByPong)
	r.kernelMax = 0
	g.open(r, Start{})
	g.work()
	if n := g.Stats().Replayed; n != 10 {
		t.Errorf("%d messages in the first round trip, want 10", n)
	}
	trips := 0
	for total := 0; total < 20; trips++ {
		r.kernelMax = 1 << 20
		r.drain()
		r.kernelMax = 0
		n := len(g.take(r, true))
		if total += n; n == 0 {
			t.Fatalf("stuck after %d", total)
		}
	}
	if trips > 2 {
		t.Errorf("%d round trips", trips)
	}
}

// TestLargeMessage: a message larger than the window goes alone, whatever it takes.
func TestLargeMessage(t *testing.T) {
	g := newRig(t)
	large := strings.Repeat("L", 5000)
	want := []string{"a", large, "b", large, large, "c"}
	for _, text := range want {
		g.push(inboxOf("alice"), text)
	}
	r := g.receiver("alice", AckByPong)
	r.kernelMax = 2
	g.open(r, Start{})
	g.work()
	g.live(r, "live")
	var got []string
	for range 20 {
		got = append(got, g.take(r, true)...)
		g.run()
	}
	live := 0
	for i := len(got) - 1; i >= 0; i-- {
		if got[i] == "live" {
			got = append(got[:i], got[i+1:]...)
			live++
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") || live != 1 || r.full != "" {
		t.Errorf("got %d messages, %d live, full %q", len(got), live, r.full)
	}
}

// TestNoticesOutOfOrder: notices of other nodes come late, twice and in any order.
func TestNoticesOutOfOrder(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	r := g.connect("alice", AckByPong)
	var notices []*Notice
	for _, text := range []string{"1", "2", "3", "4"} {
		m := g.store.append(b, text, 0)
		notices = append(notices, g.NewNotice(b, m.Offset, m.Prev, text))
	}
	for _, i := range []int{2, 0, 2, 3, 1, 0} {
		g.Notify(r, notices[i])
		g.work()
	}
	g.want(r, true, "1", "2", "3", "4")
	g.wantAcked(b, "alice", 4)
	// Without the message in the notice, or with a gap before it, it is read.
	m := g.store.append(b, "5", 0)
	if !g.Notify(r, g.NewNotice(b, m.Offset, m.Prev, nil)) {
		t.Error("not counted as a receiver")
	}
	g.work()
	g.store.append(b, "6", 0)
	g.push(b, "7", r)
	g.work()
	g.want(r, true, "5", "6", "7")
}

func TestLaggingReplica(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckExplicit)
	g.store.lag = 3
	g.store.append(inboxOf("alice"), "1", 0)
	g.push(inboxOf("alice"), "2", r)
	g.run()
	g.want(r, true, "begin e1@0 gap=false", "1", "2")
	// It never comes: it was removed. What follows has a gap.
	g.store.append(inboxOf("alice"), "3", 0)
	g.push(inboxOf("alice"), "4", r)
	g.store.removeFirst(inboxOf("alice"))
	for range 3 {
		g.store.removeFirst(inboxOf("alice"))
	}
	g.run()
	g.push(inboxOf("alice"), "5", r)
	g.run()
	g.want(r, true, "5 gap")
}

// TestReplicaCatchesUp: a message that the store did not have is found with the next notice.
func TestReplicaCatchesUp(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckExplicit)
	g.take(r, true)
	g.store.lag = 100
	m := g.store.append(inboxOf("alice"), "1", 0)
	g.Notify(r, g.NewNotice(inboxOf("alice"), m.Offset, m.Prev, nil))
	g.run()
	g.want(r, true)
	g.store.lag = 0
	g.push(inboxOf("alice"), "2", r)
	g.run()
	g.want(r, true, "1 gap", "2")
}

// TestLastLags: a notice comes while the store says that the inbox is empty. What
// was acknowledged does not come again.
func TestLastLags(t *testing.T) {
	g := newRig(t)
	for range 3 {
		g.store.append(inboxOf("alice"), "old", 0)
	}
	g.store.Ack(inboxOf("alice"), "alice", 3)
	g.store.lastLag = 5
	r := g.receiver("alice", AckByPong)
	g.open(r, Start{})
	g.push(inboxOf("alice"), "4", r)
	g.run()
	g.want(r, true, "4")
}

// TestRemovedMessages: messages that were removed before they were read.
func TestRemovedMessages(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	for i := range 4 {
		g.store.append(b, itoa(uint64(i+1)), 0)
	}
	g.store.Ack(b, "alice", 1)
	for range 3 {
		g.store.removeFirst(b)
	}
	g.want(g.connect("alice", AckExplicit), true, "begin e1@1 gap=true", "4")
	g.want(g.resume("alice", AckExplicit, Start{Resume: true, Epoch: "e1", Offset: 3}), true, "begin e1@3 gap=false", "4")
	g.want(g.resume("alice", AckExplicit, Start{Resume: true, Epoch: "e1", Offset: 2}), true, "begin e1@2 gap=true", "4")
	// All are removed, and nothing follows.
	g.store.removeFirst(b)
	g.want(g.resume("alice", AckExplicit, Start{Resume: true, Epoch: "e1", Offset: 3}), true, "begin e1@3 gap=true")
	g.want(g.resume("alice", AckExplicit, Start{Resume: true, Epoch: "e1", Offset: 4}), true, "begin e1@4 gap=false")
}

func TestExpiredAndDamaged(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	g.store.append(b, "1", 0)
	g.store.append(b, "expired", time.Minute)
	g.store.append(b, "3", 0)
	g.clock.advance(time.Minute)
	r := g.connect("alice", AckExplicit)
	g.want(r, true, "begin e1@0 gap=false", "1", "3 gap")
	// A message that is removed between Read and Get.
	for i := range 30 {
		g.push(b, strings.Repeat("y", 90)+string(rune('0'+i%10)))
	}
	g.close(r, 0)
	g.store.hook = func(op string) {
		if op == "get" {
			g.store.hook = nil
			g.store.boxes[b] = append(g.store.boxes[b][:20:20], g.store.boxes[b][21:]...)
		}
	}
	r = g.connect("alice", AckExplicit)
	g.Ack(r, "", "e1", 3)
	var got []string
	for range 5 {
		got = append(got, g.take(r, true)...)
		g.run()
	}
	got = got[3:] // a hello, and the two messages above
	if gaps := strings.Count(strings.Join(got, ","), " gap"); len(got) != 29 || gaps != 1 {
		t.Errorf("%d messages, %d gaps", len(got), gaps)
	}
	g.store.damaged[g.push(b, "bad", r)] = true
	g.close(r, 0)
	g.connect("alice", AckExplicit)
	if s := g.Stats(); s.Damaged == 0 {
		t.Error("damage is not counted")
	}
}

// TestStoreFails: what is live does not wait, a hello precedes it, and the replay
// goes on when the store is back.
func TestStoreFails(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit} {
		g := newRig(t)
		g.store.append(inboxOf("alice"), "stored", 0)
		g.store.setDown(true)
		r := g.receiver("alice", mode)
		g.open(r, Start{})
		if !g.live(r, "live 1") || len(r.kernel) > 0 {
			t.Error("a live message is not held")
		}
		g.work()
		g.live(r, "live 2")
		want := []string{"begin?", "live 1", "live 2"}
		if mode == AckByPong {
			want = want[1:]
		}
		g.want(r, true, want...)
		g.run()
		g.want(r, true)
		g.store.setDown(false)
		g.run()
		want = []string{"begin e1@0 gap=false", "stored"}
		if mode == AckByPong {
			want = want[1:]
		}
		g.want(r, true, want...)
	}
}

// TestSecondLook: a node stores a message and has not heard of the session yet.
func TestSecondLook(t *testing.T) {
	var synced []store.Box
	g := newRig(t, func(c *Config) {
		c.Settle = 5 * tickInterval
		c.Sync = func(_ context.Context, b store.Box) error { synced = append(synced, b); return nil }
	})
	plain := g.connect("alice", AckByPong)
	other := g.connect("bob", AckByPong, "news")
	if len(synced) != 3 {
		t.Errorf("synced %v", synced)
	}
	if n := g.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	g.store.append(inboxOf("alice"), "1", 0)
	g.store.append(topic("news"), "2", 0)
	g.want(plain, true)
	g.run()
	g.want(plain, true, "1")
	g.want(other, true, "news2")
	calls := g.store.calls["last"]
	g.run()
	if n := g.store.calls["last"]; n != calls {
		t.Errorf("%d more looks", n-calls)
	}
	// Nothing stored, and the second look leaves nothing.
	nothing := g.connect("carol", AckByPong)
	g.run()
	if n := g.Stats().Sessions; n != 2 || len(g.looks) != 0 {
		t.Errorf("%d sessions, %d looks", n, len(g.looks))
	}
	g.want(nothing, true)
}

// TestRecheck: after an outage the store is asked for all, also for sessions that
// have no state.
func TestRecheck(t *testing.T) {
	var all []Receiver
	g := newRig(t, func(c *Config) {
		c.Receivers = func(yield func(Receiver) bool) {
			for _, r := range all {
				if !yield(r) {
					return
				}
			}
		}
	})
	a, b := g.connect("alice", AckByPong), g.connect("bob", AckExplicit, "news")
	ended := g.connect("carol", AckByPong)
	all = []Receiver{a, b, ended, g.receiver("not open", AckByPong)}
	g.close(ended, 0)
	g.take(b, true)
	g.store.append(inboxOf("alice"), "1", 0)
	g.store.append(inboxOf("bob"), "2", 0)
	g.store.append(topic("news"), "3", 0)
	g.recheck()
	g.work()
	g.want(a, true, "1")
	g.want(b, true, "2", "news3")
	if n := g.Stats().Sessions; n != 2 {
		t.Errorf("%d sessions", n)
	}
	if g.store.recover == nil {
		t.Error("OnRecover was not called")
	}
}
