package replay

import (
	"encoding/json"
	"strings"
	"testing"
)

// rewinding connects a client that gets the last n messages of news first.
func (g *rig) rewinding(user string, mode AckMode, n int, remember bool) *receiver {
	r := g.receiver(user, mode)
	g.Attach(r, Start{}, []Subscription{{Topic: "news", Start: Start{Rewind: uint16(n)}, Remember: remember}})
	r.phase = Open
	g.Open(r)
	g.work()
	return r
}

func TestRewind(t *testing.T) {
	for _, tt := range []struct {
		n       int
		removed int
		want    string
	}{
		{1, 0, "begin newse1@3 gap=false, news4"},
		{3, 0, "begin newse1@1 gap=false, news2, news3, news4"},
		{4, 0, "begin newse1@0 gap=false, news1, news2, news3, news4"},
		{9, 0, "begin newse1@0 gap=false, news1, news2, news3, news4"},
		{9, 2, "begin newse1@2 gap=false, news3, news4"},
		{1, 4, "begin newse1@4 gap=false"},
	} {
		g := newRig(t)
		for _, text := range []string{"1", "2", "3", "4"} {
			g.store.append(topic("news"), text, 0)
		}
		for range tt.removed {
			g.store.removeFirst(topic("news"))
		}
		g.clock.advance(tickInterval)
		r := g.rewinding("alice", AckExplicit, tt.n, false)
		g.want(r, true, append([]string{"begin e1@0 gap=false"}, strings.Split(tt.want, ", ")...)...)
		g.push(topic("news"), "live", r) // the next follows
		g.want(r, true, "newslive")
	}
	g := newRig(t) // nothing is stored
	g.want(g.rewinding("alice", AckExplicit, 1, false), true, "begin e1@0 gap=false", "begin newse1@0 gap=false")
}

// TestRewindPosition: what a user has acknowledged does not matter, and stays.
func TestRewindPosition(t *testing.T) {
	g := newRig(t)
	for _, text := range []string{"1", "2", "3"} {
		g.store.append(topic("news"), text, 0)
	}
	g.clock.advance(tickInterval)
	// A first-time subscriber gets again what it has not acknowledged.
	r := g.rewinding("alice", AckByPong, 2, true)
	g.wantAcked(topic("news"), "alice", 1)
	g.want(r, false, "news2", "news3")
	g.close(r, 0)
	r = g.connect("alice", AckByPong, "news")
	g.want(r, true, "news2", "news3")
	g.wantAcked(topic("news"), "alice", 3)
	g.close(r, 0)
	// The acknowledged message comes again, and the position stays.
	r = g.rewinding("alice", AckByPong, 2, true)
	g.want(r, true, "news2", "news3")
	g.wantAcked(topic("news"), "alice", 3)
	g.close(r, 0)
	// Unread messages before the last ones do not come.
	for _, text := range []string{"4", "5"} {
		g.store.append(topic("news"), text, 0)
	}
	g.clock.advance(tickInterval)
	r = g.rewinding("alice", AckByPong, 1, true)
	g.wantAcked(topic("news"), "alice", 3)
	g.want(r, true, "news5")
	g.wantAcked(topic("news"), "alice", 5)
}

// TestRewindRaces: what is stored between the subscribe and the look at the store comes, even
// if it is more than the session wants.
func TestRewindRaces(t *testing.T) {
	g := newRig(t)
	g.store.append(topic("news"), "old", 0)
	g.clock.advance(tickInterval)
	r := g.receiver("alice", AckByPong)
	g.Attach(r, Start{}, []Subscription{{Topic: "news", Start: Start{Rewind: 1}}})
	g.store.append(topic("news"), "1", 0)
	g.store.append(topic("news"), "2", 0)
	r.phase = Open
	g.Open(r)
	g.work()
	g.want(r, true, "news1", "news2")
	// A subscription of an open session, and a repeated one.
	s := g.connect("bob", AckByPong)
	for range 2 {
		if _, err := g.Subscribe(s, Subscription{Topic: "news", Start: Start{Rewind: 2}}, nop); err != nil {
			t.Fatal(err)
		}
		g.work()
	}
	g.want(s, true, "news1", "news2")
}

// TestRewindExport: a stream that was not placed yet rewinds in the other process.
func TestRewindExport(t *testing.T) {
	g := newRig(t)
	g.store.append(topic("news"), "1", 0)
	g.store.append(topic("news"), "2", 0)
	g.clock.advance(tickInterval)
	r := g.receiver("alice", AckByPong)
	g.Attach(r, Start{}, []Subscription{{Topic: "news", Start: Start{Rewind: 1}}})
	r.phase = Open
	st, held := g.Export(r)
	b, err := json.Marshal(st)
	if err != nil || !strings.Contains(string(b), `"Rewind":1`) {
		t.Fatalf("got %s, %v", b, err)
	}
	moved := new(State)
	if err := json.Unmarshal(b, moved); err != nil {
		t.Fatal(err)
	}
	if err := g.Import(r, moved, held); err != nil {
		t.Fatal(err)
	}
	g.work()
	g.want(r, true, "news2")
}

// TestRewindStoreFails: a store that fails is asked again.
func TestRewindStoreFails(t *testing.T) {
	g := newRig(t)
	g.store.append(topic("news"), "1", 0)
	g.store.append(topic("news"), "2", 0)
	g.clock.advance(tickInterval)
	fails := true
	g.store.hook = func(op string) {
		if op == "rewind" {
			g.store.setDown(fails)
		}
	}
	r := g.rewinding("alice", AckByPong, 1, false)
	g.want(r, true)
	fails = false
	g.store.setDown(false)
	g.clock.advance(storeDelay)
	g.tick(g.clock.Now())
	g.work()
	g.want(r, true, "news2")
}
