package cluster

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// TestMaxPayload: commands and replies of any size up to the bound arrive whatever
// the NATS server allows, and more is an error.
func TestMaxPayload(t *testing.T) {
	sessions := make([]server.SessionInfo, 5000)
	for i := range sessions {
		sessions[i] = server.SessionInfo{ID: "id", User: strings.Repeat("u", 100), Topics: []string{"t"}}
	}
	for name, test := range map[string]struct {
		limit int32
		sizes []int
	}{
		// 1,048,570 bytes fit into a default max_payload alone, but not with a header.
		"default": {0, []int{0, 1, 1_048_570, 1 << 20, 3 << 20}},
		"64 KiB":  {64 << 10, []int{64<<10 - 40, 64<<10 - 20, 64 << 10, 1_048_570, maxMessage - 100}},
		"least":   {minPayload, []int{1000, minPayload, 100 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := natstest.Start(t, natsserver.Options{MaxPayload: test.limit})
			holder := joinNode(t, &fakeNode{serve: func(c *server.Command) server.Reply {
				if c.Verb == server.VerbSessions {
					return server.Reply{Count: len(sessions), Sessions: sessions}
				}
				return server.Reply{Count: len(c.Payload)}
			}}, ns.ClientURL())
			asker := join(t, ns.ClientURL())
			together(t, []*member{holder, asker})
			holder.Hold(user("alice"))
			known(t, user("alice"), asker)
			for _, size := range test.sizes {
				payload := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
				a := asker.mustAsk(t, user("alice"), &server.Command{Verb: server.VerbPush, User: "alice", Op: server.Binary, Payload: payload})
				if a.Replies[0].Count != size {
					t.Fatalf("%d bytes arrive as %d", size, a.Replies[0].Count)
				}
				if got := holder.node.commands(); !bytes.Equal(got[len(got)-1].Payload, payload) {
					t.Errorf("%d bytes arrive as %d others", size, len(got[len(got)-1].Payload))
				}
			}
			a := asker.mustAsk(t, user("alice"), &server.Command{Verb: server.VerbSessions, User: "alice"})
			if got := len(a.Replies[0].Sessions); got != len(sessions) {
				t.Errorf("%d sessions", got)
			}
			_, err := asker.Ask(t.Context(), user("alice"), push("alice", strings.Repeat("x", maxMessage)))
			if !errors.Is(err, server.ErrTooBig) || !strings.Contains(err.Error(), "nodes carry at most 33554432") {
				t.Errorf("got %v", err)
			}
			if asker.Stats().Dropped.TooBig != 1 {
				t.Errorf("%d too big are counted", asker.Stats().Dropped.TooBig)
			}
		})
	}
}

// TestTooBigReply: a reply that is not carried is an error, not silence.
func TestTooBigReply(t *testing.T) {
	ns := startNATS(t)
	sessions := make([]server.SessionInfo, 600)
	for i := range sessions {
		sessions[i].User = strings.Repeat("u", maxName)
	}
	holder := joinNode(t, &fakeNode{serve: func(*server.Command) server.Reply {
		return server.Reply{Count: len(sessions), Sessions: sessions}
	}}, ns.ClientURL())
	asker := join(t, ns.ClientURL())
	together(t, []*member{holder, asker})
	holder.Hold(user("alice"))
	known(t, user("alice"), asker)
	a := asker.mustAsk(t, user("alice"), &server.Command{Verb: server.VerbSessions, User: "alice"})
	if a.Replies[0].Count != len(sessions) || !strings.Contains(a.Replies[0].Error, "nodes carry at most") {
		t.Errorf("got %d, %q", a.Replies[0].Count, a.Replies[0].Error)
	}
}

// TestLowMaxPayload: with a NATS server that does not let a beat through, the node
// is not ready and says why.
func TestLowMaxPayload(t *testing.T) {
	m := join(t, natstest.Start(t, natsserver.Options{MaxPayload: 512}).ClientURL())
	await(t, "the limit is known", func() bool { return m.Stats().MaxPayload == 512 && m.Stats().Connected })
	if err := m.Ready(); !errors.Is(err, server.ErrUnreachable) || !strings.Contains(err.Error(), "512") {
		t.Errorf("Ready: %v", err)
	}
	if _, err := m.Ask(t.Context(), user("a"), push("a", "x")); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Ask: %v", err)
	}
}

// TestLoweredMaxPayload: the limit is that of the connection, which may be another
// one after a reconnect.
func TestLoweredMaxPayload(t *testing.T) {
	ns := startNATS(t)
	all := joinAll(t, ns.ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	ns.Stop()
	ns.Opts.MaxPayload = 4 << 10
	ns.Start()
	for _, m := range all {
		await(t, "the limit is known", func() bool { return m.Stats().MaxPayload == 4<<10 })
	}
	together(t, all)
	await(t, "a large command arrives", func() bool {
		a, err := all[1].Ask(t.Context(), user("alice"), push("alice", strings.Repeat("x", 1<<20)))
		return err == nil && len(a.Replies) == 1
	})
}

// TestForeignMessages: whatever is published on the subjects of nodes, they live,
// count it, and log it once.
func TestForeignMessages(t *testing.T) {
	ns := startNATS(t)
	all := joinAll(t, ns.ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	nc := outsider(t, ns.ClientURL())
	from := nodeID{7}
	command := func(c server.Command) []byte {
		return appendCommand(appendNumbers(appendHeader(nil, kindCommand, from), 0), &c)
	}
	version := append([]byte{version + 1}, command(*push("alice", "x"))[1:]...)
	fragment := appendNumbers(appendHeader(nil, kindFragment, from), 1, 3, 5)
	var malformed int64
	for _, subject := range []string{everySubject, targetOf(user("alice")).subject(), replySubject(all[0].id), controlSubject, markSubject(all[0].id, 1)} {
		for _, body := range [][]byte{
			nil, {1}, make([]byte, 5000), appendHeader(nil, 'q', from), appendHeader(nil, kindCommand, from),
			command(server.Command{Verb: server.VerbStored, User: "alice", Epoch: "e", Offset: 1 << 63, Op: server.Text}),
			command(server.Command{Verb: server.VerbBroadcast, Op: 9, Payload: make([]byte, 126)}),
			command(server.Command{Verb: server.VerbPush, User: "alice", Op: server.Text, Payload: []byte{0xff}}),
		} {
			nc.Publish(subject, body)
			malformed++
		}
	}
	for range 100 {
		nc.Publish(everySubject, version)
		nc.Publish(everySubject, fragment)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	m := all[0]
	await(t, "all are counted", func() bool {
		d := m.Stats().Dropped
		return d.Incomplete == 100 && d.Version >= 100 && d.Malformed >= malformed*3/5
	})
	if n := m.log.Count("protocol version 3"); n != 1 {
		t.Errorf("the version is logged %d times", n)
	}
	if got := m.node.commands(); len(got) != 0 {
		t.Errorf("served %+v", got)
	}
	if a, err := all[1].Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || len(a.Replies) != 1 || m.Stats().Panics != 0 {
		t.Errorf("afterwards: %+v, %v", a, err)
	}
	await(t, "the other node is there", func() bool { return m.Nodes() == 2 })
}
