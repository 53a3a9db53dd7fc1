package presence

import (
	"slices"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/internal/presence"
	"fanfare/server/node"
)

// TestCluster: users and topics of two nodes are reported once, by one of them, and again
// neither when the leader is killed, nor when all nodes are.
func TestCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("a", time.Second), w.node("b", time.Second)
	a.Observe(online("alice"))
	a.Observe(server.Event{Kind: server.TopicOccupied, Topic: "news"})
	until(t, "a leader", func() bool { return leader(a, b) != nil })
	until(t, "both", func() bool { return len(w.reports()) == 2 })
	b.Observe(online("alice"))
	b.Observe(online("bob"))
	want := []string{"user.online alice", "topic.occupied news", "user.online bob"}
	got := w.reports()
	slices.Sort(got)
	if !slices.Equal(got, []string{"topic.occupied news", "user.online alice"}) {
		t.Fatalf("%q", got)
	}
	w.mu.Lock()
	w.reported = slices.Clone(want[:2])
	w.mu.Unlock()
	w.wants(want...)

	kill(a) // alice is still at b
	until(t, "b leads", b.Leads)
	want = append(want, "topic.vacated news")
	w.wants(want...)

	kill(b)
	c := w.node("c", time.Second)
	c.Observe(online("bob")) // within the grace period after the start
	want = append(want, "user.offline alice")
	w.wants(want...)
	c.Observe(offline("bob"))
	c.Observe(online("bob"))
	c.Observe(offline("bob"))
	w.wants(append(want, "user.offline bob")...)
	c.Close()
}

// TestMoves: a user who moves between nodes within the grace period never is offline, and a
// node that leaves is not waited for.
func TestMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("a", 20*time.Second), w.node("b", 20*time.Second)
	a.Observe(online("alice"))
	until(t, "online", func() bool { return len(w.reports()) == 1 })
	for range 5 {
		a.Observe(offline("alice"))
		b.Observe(online("alice"))
		a.Observe(online("alice"))
		b.Observe(offline("alice"))
	}
	a.Observe(offline("alice"))
	a.Close()
	b.Observe(online("alice"))
	b.Observe(online("last"))
	w.wants("user.online alice", "user.online last")
	b.Close()
}

// TestNATSAway: an outage of NATS makes no user offline, and what happened meanwhile is
// reported afterwards.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.node("a", time.Minute), w.node("b", time.Minute) // 6 s of the clock, within which both reconnect
	a.Observe(online("alice"))
	b.Observe(online("bob"))
	until(t, "online", func() bool { return len(w.reports()) == 2 })
	w.nats.Stop()
	a.Observe(offline("alice"))
	until(t, "outage", func() bool { return !a.connected(time.Since(a.start)) && !b.connected(time.Since(b.start)) })
	w.nats.Start()
	b.Observe(online("carol"))
	until(t, "offline", func() bool { return len(w.reports()) >= 4 })
	if got := w.reports()[2:]; !slices.Equal(got, []string{"user.online carol", "user.offline alice"}) {
		t.Errorf("%q", got)
	}
	a.Close()
	b.Close()
}

// TestReportFails: events of which it is not known whether they were reported are reported
// again with the same identifiers.
func TestReportFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.failing = true
	a := w.node("a", 0)
	a.Observe(online("alice"))
	until(t, "a second election", func() bool { return a.count.elections.Load() >= 2 })
	a.Observe(offline("alice"))
	w.wants("user.online alice", "user.offline alice")
	a.Close()
}

func TestRecord(t *testing.T) {
	seen := time.UnixMilli(1234567890123).UTC()
	for _, c := range []presence.Change{
		{Name: presence.NameOf(presence.User, "älice"), Present: true},
		{Name: presence.NameOf(presence.Topic, "t"), LastSeen: seen},
		{Name: nameOf(&node.Occupant{Topic: "t", Member: "u", Info: `{"name":"ä"}`}), Present: true},
	} {
		b := encodeRecord(&c)
		if got, ok := decodeRecord(b); !ok || got != c {
			t.Errorf("%+v, %v: want %+v", got, ok, c)
		}
		for i := range len(b) {
			if got, ok := decodeRecord(b[:i]); ok && got.Name == c.Name {
				t.Errorf("%q is a record", b[:i])
			}
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{URL: "127.0.0.1", Reporter: reporter{}}).Validate(); err != nil {
		t.Error(err)
	}
	for _, cfg := range []Config{{}, {URL: "127.0.0.1"}, {URL: "127.0.0.1", Reporter: reporter{}, Grace: -1}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v is valid", cfg)
		}
	}
}
