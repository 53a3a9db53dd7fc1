package server

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestBothProcesses: during a handover, each kind of message reaches the sessions of both
// processes, whichever of them sends it.
func TestBothProcesses(t *testing.T) {
	linuxOnly(t)
	cfg := withInbox(t)
	cfg.DurableTopics = []string{"scores.*"}
	both := [2]*Server{start(t, cfg), start(t, cfg)}
	a, b := unixPair(t)
	for i, conn := range []*net.UnixConn{a, b} {
		srv, l := both[i], both[i].newLink(conn)
		srv.background.Go(l.Run)
		srv.moving.Lock()
		srv.peer = l
		srv.moving.Unlock()
		t.Cleanup(srv.closeLink)
	}
	var clients [2]*client
	for i, srv := range both {
		clients[i] = dial(t, srv, "/ws?user=alice&topic=scores.a&topic=news", "Sec-WebSocket-Protocol: fanfare.v1")
		clients[i].next() // hello
		for !strings.Contains(clients[i].next(), "scores.a") {
		}
	}
	ctx := context.Background()
	count := func(d Delivery, err error) (int, error) { return d.Receivers, err }
	for _, srv := range both {
		for name, send := range map[string]func(m *Message) (int, error){
			"push":      func(m *Message) (int, error) { return count(srv.Push(ctx, "alice", m)) },
			"publish":   func(m *Message) (int, error) { return count(srv.Publish(ctx, "news", m)) },
			"broadcast": func(m *Message) (int, error) { return count(srv.Broadcast(ctx, m)) },
			"audience":  func(m *Message) (int, error) { return count(srv.Deliver(ctx, Audience{Users: []string{"alice"}}, m)) },
			"stored push": func(m *Message) (int, error) {
				d, err := srv.PushStored(ctx, "alice", Entry{Op: Text, Payload: m.Payload()})
				return d.Receivers, err
			},
			"stored publish": func(m *Message) (int, error) {
				d, err := srv.PublishStored(ctx, "scores.a", Entry{Op: Text, Payload: m.Payload()})
				return d.Receivers, err
			},
		} {
			if n, err := send(NewMessage(Text, []byte(name))); n != 2 || err != nil {
				t.Errorf("%s: %d receivers, %v: want 2", name, n, err)
				continue
			}
			for i, c := range clients {
				if got := c.next(); !strings.Contains(got, `"text":"`+name+`"`) {
					t.Errorf("%s: process %d sends %s", name, i, got)
				}
			}
		}
		alice := []UserSessions{{User: "alice", Sessions: 2}}
		if l, err := srv.Presence(ctx, []string{"alice", "bob"}); err != nil || !slices.Equal(l.Users, alice) {
			t.Errorf("presence: %+v, %v", l, err)
		}
		if l, err := srv.TopicUsers(ctx, "news", "", 1); err != nil || !slices.Equal(l.Users, alice) || l.More {
			t.Errorf("users of a topic: %+v, %v", l, err)
		}
		if l := srv.Nodes(ctx); len(l.Nodes) != 1 || l.Nodes[0].Sessions != 2 || l.Nodes[0].State != "serving" {
			t.Errorf("nodes: %+v", l)
		}
	}
}
