package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// TestDeadNode: a node that dies without a word is missing, and then gone.
func TestDeadNode(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	clock := newClock()
	alive := joinAt(t, clock.now, &fakeNode{}, ns.ClientURL(), short)
	dies := join(t, "nats://"+p.Addr(), func(cfg *Config) { cfg.Name = "dies:8081" })
	together(t, []*member{alive, dies})
	dies.Hold(user("alice"))
	known(t, user("alice"), alive)
	p.Stall(true)
	a, err := alive.Ask(t.Context(), user("alice"), push("alice", "x"))
	if err != nil || a.Missing != 1 || !slices.Equal(a.MissingNodes, []string{"dies:8081"}) || len(a.Replies) != 0 {
		t.Errorf("got %+v, %v", a, err)
	}
	if alive.log.Count(`msg="node did not answer" node=dies:8081 timeout=200ms`) != 1 {
		t.Errorf("logged %s", alive.log.String())
	}
	if got := alive.Stats().Missing; got != 1 {
		t.Errorf("%d are counted as missing", got)
	}
	clock.advance(beatLost)
	await(t, "the node is gone", func() bool { return alive.Nodes() == 1 })
	if a, err := alive.Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || a.Missing != 0 {
		t.Errorf("afterwards: %+v, %v", a, err)
	}
}

// TestAskEnds: Ask returns with its context.
func TestAskEnds(t *testing.T) {
	ns := startNATS(t)
	release := make(chan struct{})
	slow := joinNode(t, &fakeNode{serve: func(*server.Command) server.Reply { <-release; return server.Reply{} }}, ns.ClientURL())
	asker := join(t, ns.ClientURL())
	together(t, []*member{slow, asker})
	slow.Hold(user("alice"))
	known(t, user("alice"), asker)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(slow.node.commands()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	a, err := asker.Ask(ctx, user("alice"), push("alice", "x"))
	close(release)
	if err != nil || a.Missing != 1 || !slices.Equal(a.MissingNodes, []string{slow.Name()}) {
		t.Errorf("got %+v, %v", a, err)
	}
	if asker.log.Count("node did not answer") != 0 {
		t.Error("a call that was canceled is logged as the fault of the node")
	}
}

// TestWorking: a node that needs longer than Config.Timeout says so, and is waited
// for; also for commands that wait for the one it is busy with.
func TestWorking(t *testing.T) {
	const timeout = 2 * time.Second
	ns := startNATS(t)
	release := make(chan struct{})
	slow := joinNode(t, &fakeNode{serve: func(*server.Command) server.Reply { <-release; return server.Reply{Count: 1} }}, ns.ClientURL())
	asker := join(t, ns.ClientURL(), func(cfg *Config) { cfg.Timeout = timeout })
	together(t, []*member{slow, asker})
	answers := make(chan server.Answer, 2)
	for range 2 {
		go func() {
			a, _ := asker.Ask(t.Context(), server.Target{}, &server.Command{Verb: server.VerbBroadcast, Op: server.Text})
			answers <- a
		}()
	}
	time.Sleep(timeout + timeout/2)
	close(release)
	for range 2 {
		if a := <-answers; len(a.Replies) != 1 || a.Missing != 0 {
			t.Errorf("got %+v", a)
		}
	}
}

// TestRestartedNATS: a NATS server that is stopped and comes back empty. Meanwhile
// everything says so, and afterwards interest has followed, and every node looks
// for what it has missed.
func TestRestartedNATS(t *testing.T) {
	ns := startNATS(t)
	all := joinAll(t, ns.ClientURL(), 2)
	all[0].Hold(user("before"))
	known(t, user("before"), all[1])
	var missed [2]int64
	for i, m := range all {
		missed[i] = m.node.missed.Load()
	}
	ns.Stop()
	for _, m := range all {
		await(t, "the outage is noticed", func() bool { return m.Ready() != nil })
		if err := m.Ready(); !errors.Is(err, server.ErrUnreachable) {
			t.Errorf("Ready: %v", err)
		}
	}
	a, err := all[1].Ask(t.Context(), user("before"), push("before", "x"))
	if !errors.Is(err, server.ErrUnreachable) || len(a.Replies) != 0 || a.Missing != len(a.MissingNodes) ||
		a.Missing > 0 && a.MissingNodes[0] != all[0].Name() { // known for beatLost after its last beat
		t.Errorf("Ask: %+v, %v", a, err)
	}
	if _, err := all[1].Ask(t.Context(), user("x"), &server.Command{Verb: server.VerbSessions, User: "x"}); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Ask for sessions: %v", err)
	}
	if all[1].Stats().Dropped.Unreachable == 0 {
		t.Error("what was dropped is not counted")
	}
	all[0].Hold(user("during"))
	all[0].Release(user("before"))
	if err := all[0].Sync(t.Context(), user("during")); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Sync: %v", err)
	}

	ns.Start()
	together(t, all)
	known(t, user("during"), all[1])
	await(t, "the release is known", func() bool { return !all[1].Shared(user("before")) })
	if err := all[0].Sync(t.Context(), user("during")); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if a, err := all[1].Ask(t.Context(), user("during"), push("during", "x")); err != nil || len(a.Replies) != 1 {
		t.Errorf("Ask: %+v, %v", a, err)
	}
	for i, m := range all {
		await(t, "Missed is called", func() bool { return m.node.missed.Load() > missed[i] })
	}
}

// TestLostAnnouncement: a stored command that was dropped in an outage is repeated
// without the message.
func TestLostAnnouncement(t *testing.T) {
	ns := startNATS(t)
	all := joinAll(t, ns.ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	ns.Stop()
	await(t, "the outage is noticed", func() bool { return all[1].Ready() != nil })
	for offset := range uint64(3) {
		cmd := &server.Command{Verb: server.VerbStored, User: "alice", Epoch: "e", Offset: offset + 1, Prev: offset, Op: server.Text, Payload: []byte("x")}
		if _, err := all[1].Ask(t.Context(), user("alice"), cmd); !errors.Is(err, server.ErrUnreachable) {
			t.Fatal(err)
		}
	}
	ns.Start()
	await(t, "the last of the user is repeated", func() bool {
		got := all[0].node.commands()
		return len(got) == 1 && got[0].Offset == 3 && got[0].Prev == 2 && got[0].Op == 0
	})
	if all[1].Stats().Repeated == 0 {
		t.Error("not counted")
	}
}

// TestNATSComesLate: nodes start without a NATS server, and meet when it is there.
func TestNATSComesLate(t *testing.T) {
	ns := startNATS(t)
	url := ns.ClientURL()
	ns.Stop()
	all := []*member{join(t, url), join(t, url)}
	for _, m := range all {
		if err := m.Ready(); !errors.Is(err, server.ErrUnreachable) || m.Nodes() != 1 || m.Stats().Connected {
			t.Errorf("%v, %d nodes", err, m.Nodes())
		}
	}
	all[0].Hold(user("alice"))
	ns.Start()
	together(t, all)
	known(t, user("alice"), all[1])
	if a, err := all[1].Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || len(a.Replies) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, m := range all {
		await(t, "Missed is called", func() bool { return m.node.missed.Load() > 0 })
	}
}

// TestCutConnection: the connection of one node breaks. Its interest follows, it
// looks for what it has missed, and so do the others, to which it may have sent
// something that was lost.
func TestCutConnection(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	a, b := join(t, ns.ClientURL()), join(t, "nats://"+p.Addr())
	together(t, []*member{a, b})
	b.Hold(user("alice"))
	known(t, user("alice"), a)
	await(t, "Missed is called after the start", func() bool { return b.node.missed.Load() > 0 && a.node.missed.Load() > 0 })
	beforeA, beforeB := a.node.missed.Load(), b.node.missed.Load()
	p.Cut(false)
	await(t, "Missed is called", func() bool { return b.node.missed.Load() > beforeB && a.node.missed.Load() > beforeA })
	together(t, []*member{a, b})
	if got, err := a.Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || len(got.Replies) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if b.Stats().Connects < 2 {
		t.Errorf("%d connects are counted", b.Stats().Connects)
	}
}

// TestClosedConnection: the NATS client closes a connection for good after errors
// that it does not know. The node makes another one, with all subscriptions.
func TestClosedConnection(t *testing.T) {
	all := joinAll(t, startNATS(t).ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	old := all[0].nc.Load()
	old.Close()
	await(t, "there is another connection", func() bool { return all[0].nc.Load() != old })
	together(t, all)
	await(t, "commands arrive", func() bool {
		a, err := all[1].Ask(t.Context(), user("alice"), push("alice", "x"))
		return err == nil && len(a.Replies) == 1
	})
	if a, err := all[1].Ask(t.Context(), server.Target{}, &server.Command{Verb: server.VerbBroadcast, Op: server.Text}); err != nil || len(a.Replies) != 1 {
		t.Errorf("broadcast: %+v, %v", a, err)
	}
}

// TestPermissions: a node that NATS does not let publish or subscribe is not
// ready, and says what it needs.
func TestPermissions(t *testing.T) {
	denied := &natsserver.SubjectPermission{Deny: []string{prefix + ">"}}
	for name, perms := range map[string]*natsserver.Permissions{
		"publish":   {Publish: denied},
		"subscribe": {Subscribe: denied},
	} {
		ns := natstest.Start(t, natsserver.Options{Users: []*natsserver.User{{Username: "u", Password: "secret", Permissions: perms}}})
		m := join(t, strings.Replace(ns.ClientURL(), "nats://", "nats://u:secret@", 1))
		var reason string
		await(t, name, func() bool {
			if err := m.Ready(); err != nil { // not yet connected, at first
				reason = err.Error()
			}
			return strings.Contains(reason, "permit fanfare.node.>")
		})
		if strings.Contains(reason+m.log.String(), "secret") {
			t.Error("a password is printed")
		}
	}
	// The permissions that the documentation names are enough.
	only := &natsserver.SubjectPermission{Allow: []string{prefix + ">"}}
	ns := natstest.Start(t, natsserver.Options{
		Users: []*natsserver.User{{Username: "u", Password: "secret", Permissions: &natsserver.Permissions{Publish: only, Subscribe: only}}},
	})
	all := joinAll(t, strings.Replace(ns.ClientURL(), "nats://", "nats://u:secret@", 1), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	if err := all[0].Sync(t.Context(), user("alice")); err != nil {
		t.Error(err)
	}
	if a, err := all[1].Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || len(a.Replies) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestSyncOfLostConnection: Sync ends when the connection breaks, not when its time is up.
func TestSyncOfLostConnection(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	other, m := join(t, ns.ClientURL()), join(t, "nats://"+p.Addr())
	together(t, []*member{other, m})
	p.Stall(true) // the other node cannot confirm
	m.Hold(user("alice"))
	err := make(chan error)
	go func() { err <- m.Sync(t.Context(), user("alice")) }()
	waiting := func() int {
		m.links.mu.Lock()
		defer m.links.mu.Unlock()
		return len(m.links.waiting)
	}
	await(t, "Sync waits", func() bool { return waiting() == 1 })
	m.lost(errSilent)
	if n := waiting(); n != 0 {
		t.Errorf("%d calls of Sync wait for a connection that is lost", n)
	}
	if err := <-err; !errors.Is(err, server.ErrUnreachable) || !errors.Is(err, errSilent) {
		t.Errorf("Sync: %v", err)
	}
}
