package replay

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// stored counts the positions of a store in topics.
func (f *fakeStore) stored() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.acked {
		if p.box.Topic != "" {
			n++
		}
	}
	return n
}

// TestPositionsPerAddress: clients of one address, which call themselves anything, name
// 80,000 topics, and acknowledge an offset in each of them.
func TestPositionsPerAddress(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine: runs without the race detector")
	}
	const sessions, topics, most = 800, 100, 10_000
	g := newRig(t)
	seq := g.store.append(topic("sc.other"), "message", 0).Offset
	start := Start{Resume: true, Epoch: "e1", Offset: seq}
	attacker, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	connect := func(user string, addr netip.Addr) *receiver {
		r := g.receiver(user, AckExplicit)
		r.addr = addr
		g.open(r, Start{})
		return r
	}
	ack := func(r *receiver, name string) error {
		if _, err := g.Subscribe(r, Subscription{Topic: name, Start: start}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		g.work()
		return g.Ack(r, name, "e1", seq)
	}
	bob := connect("bob", other)
	if err := ack(bob, "sc.bob"); err != nil {
		t.Fatal(err)
	}
	rejected := 0
	for i := range sessions {
		r := connect(fmt.Sprint("user", i), attacker)
		for j := range topics {
			switch err := ack(r, fmt.Sprint("sc.", i, ".", j)); {
			case errors.Is(err, ErrPositions):
				rejected++
			case err != nil:
				t.Fatal(err)
			}
		}
		g.close(r, 0)
	}
	// The filter takes a few names for ones that it has counted.
	if n := g.store.stored() - 1; n < most || n > most+most/20 || rejected != sessions*topics-n {
		t.Errorf("%d positions are stored, %d rejected, want about %d", n, rejected, most)
	}
	if n := g.Stats().Unstored; n != int64(rejected) {
		t.Errorf("%d positions are counted, %d were rejected", n, rejected)
	}
	// Others have the positions that they had, and get new ones; so does a client that is exempt.
	g.wantAcked(topic("sc.bob"), "bob", int(seq))
	for i, r := range []*receiver{bob, connect("carol", other), connect("dave", netip.Addr{})} {
		if err := ack(r, "sc.more"); err != nil {
			t.Errorf("another client: %v", err)
		}
		g.wantAcked(topic("sc.more"), []string{"bob", "carol", "dave"}[i], int(seq))
	}
	// A stored position moves on, also in a later session of the same address.
	r := connect("user0", attacker)
	last := g.push(topic("sc.0.0"), "new", r)
	start.Offset = last
	seq = last
	if err := ack(r, "sc.0.0"); err != nil {
		t.Error(err)
	}
	g.wantAcked(topic("sc.0.0"), "user0", int(last))
}

// TestPositionsPerUser: messages of further topics are delivered, and the position is
// stored again when the period is over.
func TestPositionsPerUser(t *testing.T) {
	var log strings.Builder
	g := newRig(t, func(c *Config) { c.PositionsPerUser, c.Logger = 2, logTo(&log) })
	for _, mode := range []AckMode{AckByPong, AckExplicit} {
		user := fmt.Sprint("user", mode)
		r := g.connect(user, mode)
		g.take(r, true)
		for i := range 4 {
			box := topic(fmt.Sprint("t", i))
			g.Subscribe(r, Subscription{Topic: box.Topic}, func() error { return nil })
			g.work()
			offset := g.push(box, "message", r)
			g.work()
			if got := g.take(r, true); len(got) == 0 || got[len(got)-1] != box.Topic+"message" {
				t.Errorf("topic %d: got %q", i, got)
			}
			want := int(offset)
			if i >= 2 {
				want = -1
			}
			if mode == AckExplicit {
				if err := g.Ack(r, box.Topic, "e1", offset); (err == nil) != (i < 2) || err != nil && !errors.Is(err, ErrPositions) {
					t.Errorf("topic %d: %v", i, err)
				}
			}
			g.wantAcked(box, user, want)
		}
		// Topics that the server chose, and inboxes, do not count.
		g.Subscribe(r, Subscription{Topic: "chosen", Remember: true, Exempt: true}, func() error { return nil })
		g.work()
		g.push(topic("chosen"), "message", r)
		g.push(inboxOf(user), "mine", r)
		g.work()
		g.take(r, true)
		if _, known := g.store.position(topic("chosen"), user); !known {
			t.Error("no position in a topic that the server chose")
		}
		if mode == AckByPong {
			if offset, _ := g.store.position(inboxOf(user), user); offset == 0 {
				t.Error("no position in the inbox")
			}
		}
		g.clock.advance(4 * time.Hour) // four times RenewInterval
		offset := g.push(topic("t3"), "later", r)
		g.work()
		g.take(r, true)
		if mode == AckExplicit {
			if err := g.Ack(r, "t3", "e1", offset); err != nil {
				t.Error(err)
			}
		}
		g.wantAcked(topic("t3"), user, int(offset))
	}
	if n := strings.Count(log.String(), "position not stored"); n != 2 || !strings.Contains(log.String(), "user=user0 topic=t2") {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	if n := g.Stats().Unstored; n != 4 {
		t.Errorf("%d are counted, want 4", n)
	}
}

// TestPositionsOfRememberedTopics: a client that subscribes to topics in its handshake
// stores a position in each at once, unless it may have chosen their names.
func TestPositionsOfRememberedTopics(t *testing.T) {
	for _, exempt := range []bool{false, true} {
		g := newRig(t, func(c *Config) { c.PositionsPerAddress = 3 })
		want := 3
		if exempt {
			want = 8
		}
		for i := range 4 {
			r := g.receiver(fmt.Sprint("user", i), AckByPong)
			r.addr = netip.MustParseAddr("192.0.2.1")
			var subs []Subscription
			for j := range 2 {
				subs = append(subs, Subscription{Topic: fmt.Sprint("t", j), Remember: true, Exempt: exempt})
			}
			r.hold = true
			g.Attach(r, Start{}, subs)
			r.phase = Open
			g.Open(r)
			g.work()
		}
		if n := g.store.stored(); n != want || g.Stats().Unstored != int64(8-want) {
			t.Errorf("exempt %v: %d positions are stored, want %d; %d are counted", exempt, n, want, g.Stats().Unstored)
		}
	}
}

// TestServerSubscribesOverQuota: a topic in which the client may store no position is
// subscribed by the server, too. What the client has acknowledged is stored then.
func TestServerSubscribesOverQuota(t *testing.T) {
	g := newRig(t, func(c *Config) { c.PositionsPerUser = 1 })
	r := g.connect("alice", AckExplicit)
	g.take(r, true)
	var offset uint64
	for _, name := range []string{"first", "second"} {
		g.Subscribe(r, Subscription{Topic: name}, func() error { return nil })
		g.work()
		offset = g.push(topic(name), "m", r)
		g.work()
		g.take(r, true)
		if err := g.Ack(r, name, "e1", offset); (err == nil) != (name == "first") {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.wantAcked(topic("second"), "alice", -1)
	g.Subscribe(r, Subscription{Topic: "second", Exempt: true}, func() error { return nil })
	g.wantAcked(topic("second"), "alice", int(offset))
	offset = g.push(topic("second"), "m", r)
	g.work()
	g.take(r, true)
	if err := g.Ack(r, "second", "e1", offset); err != nil {
		t.Error(err)
	}
	g.wantAcked(topic("second"), "alice", int(offset))
}

// TestQuotaCountsPositionsOnce: a client that reconnects and resumes stores the same
// positions again.
func TestQuotaCountsPositionsOnce(t *testing.T) {
	q := quota{perUser: 2, perAddress: math.MaxUint32, period: time.Hour}
	now := time.Unix(1e9, 0)
	for range 100 {
		for _, name := range []string{"a", "b"} {
			if !q.allow("alice", name, netip.Addr{}, now) {
				t.Fatal("a position that was counted is rejected")
			}
		}
	}
	if q.allow("alice", "c", netip.Addr{}, now) {
		t.Error("a third position is allowed")
	}
	if !q.allow("bob", "c", netip.Addr{}, now) {
		t.Error("another user pays for it")
	}
	if !q.allow("alice", "c", netip.Addr{}, now.Add(time.Hour)) {
		t.Error("the period does not end")
	}
}
