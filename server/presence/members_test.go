package presence

import (
	"context"
	"testing"
	"time"

	"fanfare/server"
)

// TestMembers: one node announces the members of presence topics of all: a user with sessions on
// two nodes joins once, and leaves with the last one, also if the nodes are killed. No node leads
// before it has a server that announces.
func TestMembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := func(name string) *Service {
		s, err := Open(Config{URL: w.nats.ClientURL(), Name: name, Grace: time.Second, Members: true, Logger: quiet, speed: 10})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	member := func(k server.EventKind, user string) server.Event {
		return server.Event{Kind: k, Topic: "room", User: user}
	}
	a := node("a")
	if a.Wants(server.UserOnline) || !a.Wants(server.MemberJoined) {
		t.Error("without a Reporter only members are observed")
	}
	a.Observe(member(server.MemberJoined, "alice"))
	until(t, "an attempt to lead", func() bool { return a.count.sent.Load() > 0 })
	a.Serve(announcer{w})
	w.wantsMembers("lead", "+alice@room")
	b := node("b")
	b.Serve(announcer{w})
	b.Observe(member(server.MemberJoined, "alice"))
	b.Observe(member(server.MemberJoined, "bob"))
	w.wantsMembers("lead", "+alice@room", "+bob@room")
	a.Observe(member(server.MemberJoined, "carol"))
	w.wantsMembers("lead", "+alice@room", "+bob@room", "+carol@room")
	marked(t, a)

	kill(a) // alice is still at b, carol is not
	until(t, "b leads", b.Leads)
	w.wantsMembers("lead", "+alice@room", "+bob@room", "+carol@room", "lead +alice@room +bob@room +carol@room", "-carol@room")
	b.Observe(member(server.MemberLeft, "bob"))
	w.wantsMembers("lead", "+alice@room", "+bob@room", "+carol@room", "lead +alice@room +bob@room +carol@room", "-carol@room", "-bob@room")
	b.Close()
}

// marked waits until the journal says what a node has reported.
func marked(t *testing.T, s *Service) {
	t.Helper()
	until(t, "the journal says what was reported", func() bool {
		marked := make(chan bool)
		s.worker.do(func(context.Context) { marked <- s.worker.journal.reported == s.worker.journal.marked })
		return <-marked
	})
}
