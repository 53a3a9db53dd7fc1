package cluster_test

import (
	"errors"
	"testing"

	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

func TestNodes(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 3)
	// alice is on two nodes, bob on the third; nothing is asked on his.
	a0, a1, b2 := all[0].dial("user=alice&topic=news"), all[1].dial("user=alice&topic=news"), all[2].dial("user=bob")
	everyone := []*client{a0, a1, b2}
	for _, c := range everyone {
		if m := c.hear(); m.Type != "hello" {
			t.Fatalf("got %+v", m)
		}
	}
	known(t, all[2:], server.Target{User: "alice"}, server.Target{Topic: "news"})
	known(t, all[:2], server.Target{User: "bob"})
	ctx, n := t.Context(), all[2]
	await(t, "both sessions of alice are known", func() bool {
		d, err := n.Subscribers(ctx, "news")
		return err == nil && d.Receivers == 2 && len(n.Sessions(ctx, "alice").Sessions) == 2
	})
	m := server.NewMessage(server.Text, []byte("x"))
	for _, test := range []struct {
		name      string
		do        func() (server.Delivery, error)
		count     int
		receivers []*client
	}{
		{"push", func() (server.Delivery, error) { return n.Push(ctx, "alice", m) }, 2, everyone[:2]},
		{"publish", func() (server.Delivery, error) { return n.Publish(ctx, "news", m) }, 2, everyone[:2]},
		{"broadcast", func() (server.Delivery, error) { return n.Broadcast(ctx, m) }, 3, everyone},
		{"push to many", func() (server.Delivery, error) {
			return n.PushMany(ctx, []string{"alice", "bob"}, []string{"news"}, m)
		}, 3, everyone},
		{"broadcast, a user excluded", func() (server.Delivery, error) {
			return n.Deliver(ctx, server.Audience{Everyone: true, ExcludeUsers: []string{"bob"}}, m)
		}, 2, everyone[:2]},
		{"publish, a session of another node excluded", func() (server.Delivery, error) {
			id := all[0].Sessions(ctx, "alice").Sessions[1].ID
			if all[1].Sessions(ctx, "alice").Sessions[1].Node != all[1].cluster.Name() {
				id = all[0].Sessions(ctx, "alice").Sessions[0].ID
			}
			return n.Deliver(ctx, server.Audience{Topics: []string{"news"}, ExcludeSessions: []string{id}}, m)
		}, 1, everyone[:1]},
		{"paced broadcast", func() (server.Delivery, error) {
			d, err := n.StartPaced(ctx, server.Audience{Everyone: true}, m, server.Pace{Over: server.MinPace})
			await(t, "the end", func() bool {
				var failed error
				d, failed = all[0].FindPaced(ctx, d.ID)
				return failed != nil || d.State == server.PacedDone
			})
			return server.Delivery{Receivers: d.Receivers, Coverage: d.Coverage}, err
		}, 3, everyone},
		{"subscribe", func() (server.Delivery, error) { return n.SubscribeUser(ctx, "alice", "sport") }, 2, nil},
		{"unsubscribe", func() (server.Delivery, error) { return n.UnsubscribeUser(ctx, "alice", "sport") }, 2, nil},
		{"disconnect", func() (server.Delivery, error) { return n.Disconnect(ctx, "alice", 4000, "bye") }, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := test.do()
			if err != nil || d.Receivers != test.count || !d.Complete() {
				t.Fatalf("got %+v, %v, want %d", d, err, test.count)
			}
			for _, c := range test.receivers {
				c.want(said{Type: "message", Text: "x"})
			}
		})
	}
	for _, c := range everyone[:2] {
		var closed wsutil.ClosedError
		if _, err := wsutil.ReadServerText(c.Conn); !errors.As(err, &closed) || closed.Code != 4000 {
			t.Errorf("got %v, want a close with 4000", err)
		}
	}
	list := all[1].Sessions(ctx, "bob")
	if len(list.Sessions) != 1 || !list.Complete() || list.Sessions[0].Node != n.cluster.Name() {
		t.Errorf("got %+v", list)
	}
	// A node that ends takes its sessions with it.
	b2.Close()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	await(t, "the node is gone", func() bool { return all[0].cluster.Nodes() == 2 })
	if list := all[0].Sessions(ctx, "bob"); len(list.Sessions) != 0 {
		t.Errorf("got %+v", list)
	}
}
