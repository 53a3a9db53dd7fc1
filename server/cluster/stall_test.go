package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// TestStalledNATS: a NATS server that is there but does not read. Nothing waits
// for it; what does not fit is dropped, counted, and reported; and when it reads
// again, or another one answers, everything follows.
func TestStalledNATS(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	other, m := join(t, ns.ClientURL()), join(t, "nats://"+p.Addr())
	together(t, []*member{other, m})
	m.Hold(user("held before"))
	other.Hold(user("elsewhere"))
	known(t, user("held before"), other)
	known(t, user("elsewhere"), m)

	p.Stall(true)
	ended, end := context.WithCancel(t.Context())
	end() // Ask hands over, and does not wait for a reply
	big := push("elsewhere", strings.Repeat("x", 64<<10))
	// The sender's write can wait for natsconn.WriteTimeout; within one such write,
	// everything else must go on. The write may end while this machine is busy with
	// something else, so there are several attempts.
	blocked := func() bool {
		// The buffers of the kernel are full when the sender does not keep up.
		for m.Stats().QueuedBytes < 4<<20 {
			if m.Ready() != nil {
				return false
			}
			m.Ask(ended, user("elsewhere"), big)
		}
		sent := m.Stats().Sent
		for i := range 50 {
			to := user(string(rune('a' + i)))
			m.Hold(to)
			m.Hold(topic("t"))
			m.Release(topic("t"))
			m.Sync(ended, to)
			m.Ask(ended, user("elsewhere"), push("elsewhere", "x"))
			m.Shared(to)
			m.Nodes()
			m.Ready()
			m.Release(to)
		}
		return m.Stats().Sent == sent
	}
	await(t, "50 rounds of calls while one write waits", func() bool {
		if m.Ready() != nil { // noticed: begin anew
			p.Stall(false)
			await(t, "reconnected", func() bool { return m.Ready() == nil })
			p.Stall(true)
		}
		return blocked()
	})
	// The queue is bounded. What it does not take is an error of Ask.
	var full error
	for m.Ready() == nil && full == nil {
		_, full = m.Ask(ended, user("elsewhere"), big)
		if n := m.Stats().QueuedBytes; n > maxQueuedBytes {
			t.Fatalf("%d bytes wait", n)
		}
	}
	await(t, "the stall is noticed", func() bool { return m.Ready() != nil && m.Stats().Stalls > 0 })
	a, err := m.Ask(t.Context(), user("elsewhere"), push("elsewhere", "x"))
	if err == nil || len(a.Replies) != 0 {
		t.Errorf("Ask: %+v, %v", a, err)
	}
	await(t, "what waited is dropped", func() bool { return m.Stats().QueuedBytes < 1<<20 })
	if d := m.Stats().Dropped; d.Unreachable+d.Expired == 0 {
		t.Errorf("dropped: %+v", d)
	}
	m.Release(user("held before"))
	m.Hold(user("held after"))

	missed := m.node.missed.Load()
	p.Stall(false)
	together(t, []*member{other, m})
	known(t, user("held after"), other)
	await(t, "the release is known", func() bool { return !other.Shared(user("held before")) })
	await(t, "commands arrive", func() bool {
		a, err := other.Ask(t.Context(), user("held after"), push("held after", "y"))
		return err == nil && len(a.Replies) == 1
	})
	await(t, "Missed is called", func() bool { return m.node.missed.Load() > missed })
}

// TestSilentNATS: a NATS server that stops reading and writing while nothing is
// sent but beats is noticed, too, and Leave does not wait for it.
func TestSilentNATS(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	m := join(t, "nats://"+p.Addr())
	await(t, "connected", func() bool { return m.Ready() == nil })
	p.Stall(true)
	await(t, "the silence is noticed", func() bool { return m.Ready() != nil })
	if m.Stats().Stalls == 0 || m.log.Count("NATS does not answer") == 0 {
		t.Errorf("stalls: %d", m.Stats().Stalls)
	}
	left := make(chan struct{})
	go func() { m.Leave(); close(left) }()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("Leave waits")
	}
}

// TestSlowNetwork: a command that takes longer to write than NATS has to answer a ping is
// not taken for a NATS server that does not read.
func TestSlowNetwork(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 8*time.Millisecond) // 32 KiB each, in either direction
	other, m := join(t, ns.ClientURL()), join(t, "nats://"+p.Addr())
	together(t, []*member{other, m})
	other.Hold(user("alice"))
	known(t, user("alice"), m)
	m.mustAsk(t, user("alice"), push("alice", strings.Repeat("x", 24<<20)))
	if s := m.Stats(); s.Stalls != 0 || s.Connects != 1 {
		t.Errorf("%d stalls, %d connects", s.Stalls, s.Connects)
	}
}

// TestSlowNode: commands that this node does not serve fast enough are dropped,
// counted, and make it look for what it has missed.
func TestSlowNode(t *testing.T) {
	ns := startNATS(t)
	release := make(chan struct{})
	slow := joinNode(t, &fakeNode{serve: func(*server.Command) server.Reply { <-release; return server.Reply{} }}, ns.ClientURL())
	other := join(t, ns.ClientURL())
	together(t, []*member{slow, other})
	await(t, "Missed is called after the start", func() bool { return slow.node.missed.Load() > 0 })
	q := slow.lanes[0].queue
	q.mu.Lock()
	q.maxItems = 10
	q.mu.Unlock()
	slow.Hold(user("alice"))
	known(t, user("alice"), other)
	ended, end := context.WithCancel(t.Context())
	end()
	before := slow.node.missed.Load()
	for range 50 {
		other.Ask(ended, user("alice"), push("alice", "x"))
	}
	await(t, "commands are dropped", func() bool { return slow.Stats().Dropped.SlowNode >= 50-11 })
	await(t, "Missed is called", func() bool { return slow.node.missed.Load() > before })
	close(release)
	await(t, "the rest is served", func() bool { return slow.Stats().Served+slow.Stats().Dropped.SlowNode == 50 })
}
