package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPeers: what beats say about a node, with explicit time.
func TestPeers(t *testing.T) {
	start := time.Unix(1000, 0)
	id := nodeID{1}
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	type want struct{ link, isNew, repeats bool }
	for name, beats := range map[string][]struct {
		ms   int
		beat beat
		want want
	}{
		"starts": {
			{0, beat{sequence: 1, generation: 1, repeats: true}, want{true, true, true}},
			{1000, beat{sequence: 2, generation: 1, repeats: true}, want{false, false, true}},
		},
		"is heard late": {
			{0, beat{sequence: 100, generation: 1}, want{true, true, false}},
		},
		"loses a beat": {
			{0, beat{sequence: 1, generation: 1, repeats: true}, want{true, true, true}},
			{1000, beat{sequence: 3, generation: 1, repeats: true}, want{true, false, false}},
		},
		"reconnects": {
			{0, beat{sequence: 1, generation: 1, repeats: true}, want{true, true, true}},
			{1000, beat{sequence: 2, generation: 2}, want{true, false, false}},
			{2000, beat{sequence: 3, generation: 2}, want{false, false, false}},
		},
		"was away": {
			{0, beat{sequence: 1, generation: 1, repeats: true}, want{true, true, true}},
			{5000, beat{sequence: 2, generation: 1, repeats: true}, want{true, true, false}},
		},
	} {
		var ps peers
		ps.init(nodeID{9}, "self")
		for i, b := range beats {
			n := ps.hear(id, b.beat, at(b.ms))
			if got := (want{n.link, n.isNew, ps.all[id].repeats}); got != b.want {
				t.Errorf("%s, beat %d: got %+v, want %+v", name, i, got, b.want)
			}
			ps.link(id)
		}
	}
}

// TestClockAhead: a node whose clock is ahead is reported once, until it was right again.
func TestClockAhead(t *testing.T) {
	start := time.Unix(1000, 0)
	var ps peers
	ps.init(nodeID{9}, "self")
	for i, test := range []struct {
		clock uint64 // relative to the time of arrival, milliseconds
		ahead time.Duration
	}{
		{0, 0}, {5000, 0}, {5001, 5001 * time.Millisecond}, {9000, 0}, {5000, 0}, {3_600_000, time.Hour},
		{^uint64(0) - 20_000, 0}, // 20 s earlier: that node notices
	} {
		now := start.Add(time.Duration(i) * time.Second)
		b := beat{sequence: uint64(i + 1), generation: 1, name: "other", clock: uint64(now.UnixMilli()) + test.clock}
		if got := ps.hear(nodeID{1}, b, now).ahead; got != test.ahead {
			t.Errorf("beat %d: %v, want %v", i, got, test.ahead)
		}
	}
	for _, clock := range []uint64{0, 1 << 63, ^uint64(0)} { // unknown, and impossible
		if got := ps.hear(nodeID{2}, beat{sequence: 1, clock: clock}, start).ahead; got != 0 {
			t.Errorf("clock %d: %v", clock, got)
		}
	}
}

func TestPeersHolding(t *testing.T) {
	start := time.Unix(1000, 0)
	var ps peers
	ps.init(nodeID{9}, "self")
	to := targetOf(user("alice"))
	b := beat{sequence: 1}
	b.holds.set(to)
	ps.hear(nodeID{1}, b, start)
	ps.hear(nodeID{2}, beat{sequence: 1}, start)
	for _, test := range []struct {
		at       time.Duration
		to       target
		want     int
		unlinked int
	}{
		{0, to, 1, 2},
		{0, everyone, 2, 2},
		{0, targetOf(topic("alice")), 0, 2},
		{beatLost, to, 1, 2},
		{beatLost + 1, to, 0, 0},
		{beatLost + 1, everyone, 0, 0},
	} {
		now := start.Add(test.at)
		if got := len(ps.holding(test.to, now)); got != test.want || ps.shared(test.to, now) != (got > 0) {
			t.Errorf("%+v: %d nodes, shared %v", test, got, ps.shared(test.to, now))
		}
		if got := len(ps.unlinked(now)); got != test.unlinked {
			t.Errorf("%+v: %d nodes are not linked", test, got)
		}
	}
	ps.unlinked(start.Add(peerForgotten + 1))
	if len(ps.all) != 0 {
		t.Error("nodes are never forgotten")
	}
}

// TestPeersLost: a node that was killed is reported once, and again after it was heard.
func TestPeersLost(t *testing.T) {
	now := time.Unix(1000, 0)
	var ps peers
	ps.init(nodeID{9}, "self")
	ps.hear(nodeID{1}, beat{sequence: 1, name: "killed"}, now)
	ps.hear(nodeID{2}, beat{sequence: 1, name: "leaving"}, now)
	if got := ps.lost(now.Add(beatLost)); got != nil {
		t.Errorf("too early: %q", got)
	}
	ps.remove(nodeID{2}) // it has said so
	for i, want := range [][]string{{"killed"}, nil} {
		if got := ps.lost(now.Add(beatLost + 1)); !slices.Equal(got, want) {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
	now = now.Add(time.Minute)
	ps.hear(nodeID{1}, beat{sequence: 60, name: "killed"}, now)
	if got := ps.lost(now.Add(beatLost + 1)); !slices.Equal(got, []string{"killed"}) {
		t.Errorf("the second time: %q", got)
	}
}

func TestBeatEncoding(t *testing.T) {
	want := beat{sequence: 1 << 40, generation: 3, repeats: true, name: "host:8080", clock: 1 << 42}
	want.holds.set(targetOf(user("alice")))
	b := want.append(nil)
	if got, err := decodeBeat(b); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	clock := len(appendNumbers(nil, want.clock))
	for n := range b {
		if _, err := decodeBeat(b[:n]); (err == nil) != (n == len(b)-clock) {
			t.Errorf("the first %d bytes: %v; only the clock may be left out", n, err)
		}
	}
	for _, name := range []string{"", "a b", "a\"b", "\xff", strings.Repeat("x", maxNodeName+1)} {
		bad := beat{sequence: 1, name: name}
		if _, err := decodeBeat(bad.append(nil)); err == nil {
			t.Errorf("the name %.10q is accepted", name)
		}
	}
	if _, err := decodeBeat(append(b, 1, 2, 3)); err != nil {
		t.Errorf("fields to come are not ignored: %v", err)
	}
}

func TestRepeats(t *testing.T) {
	var r repeats
	var cn connection
	start := time.Unix(1000, 0)
	cn.since.Store(&start)
	cn.generation.Store(1)
	for _, test := range []struct {
		generation uint64
		at         time.Duration
		want       bool
	}{{1, 0, true}, {1, earlyFor - 1, true}, {1, earlyFor, false}, {2, 0, false}, {0, 0, false}} {
		cn.generation.Store(test.generation)
		if got := r.early(start.Add(test.at), &cn); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	cn.generation.Store(1)
	r.keepEarly(stored{user("a"), "e", 1, 0})
	r.keepLost(stored{user("b"), "e", 5, 4})
	r.keepLost(stored{user("b"), "e", 3, 2}) // an older one
	if list := r.take(false); len(list) != 1 || list[0].offset != 5 {
		t.Errorf("got %+v", list)
	}
	r.keepLost(stored{user("b"), "e", 5, 4})
	r.keepLost(stored{user("b"), "f", 1, 0}) // of a later epoch
	if list := r.take(false); len(list) != 1 || list[0].epoch != "f" {
		t.Errorf("got %+v", list)
	}
	for range 2 { // for each node that is linked
		if list := r.take(true); len(list) != 1 || list[0].to != user("a") {
			t.Errorf("got %+v", list)
		}
	}
	r.expire(start.Add(earlyKept), &cn)
	if list := r.take(true); len(list) != 0 {
		t.Errorf("got %+v", list)
	}
	for i := range maxRepeats {
		r.keepLost(stored{topic(string(rune(i))), "e", 1, 0})
	}
	if r.takeOverflow() {
		t.Error("overflow too early")
	}
	r.keepLost(stored{topic("one more"), "e", 1, 0})
	if !r.takeOverflow() || r.takeOverflow() || len(r.lost) != 1 {
		t.Errorf("overflow is not reported once; %d are kept", len(r.lost))
	}
}
