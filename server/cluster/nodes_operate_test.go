package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"fanfare/server"
)

// TestOperateNodes: lists are merged by name over all nodes, a session is closed on whichever node
// it is, and a paced close counts what all nodes have closed.
func TestOperateNodes(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 2)
	clients := []*client{all[0].dial("user=alice&topic=news"), all[1].dial("user=alice&topic=news"), all[1].dial("user=bob"), all[0].dial("user=carol")}
	for _, c := range clients {
		if m := c.hear(); m.Type != "hello" {
			t.Fatalf("got %+v", m)
		}
	}
	ctx := t.Context()
	for _, n := range all {
		await(t, "all users are listed", func() bool {
			l, err := n.Users(ctx, server.PageQuery{Limit: 2})
			return err == nil && l.Complete() && l.More && fmt.Sprint(l.Users) == "[{alice 2} {bob 1}]"
		})
		l, err := n.Users(ctx, server.PageQuery{Limit: 2, After: "bob"})
		if err != nil || l.More || fmt.Sprint(l.Users) != "[{carol 1}]" {
			t.Errorf("%+v, %v", l, err)
		}
		topics, err := n.Topics(ctx, server.PageQuery{Prefix: "new", Limit: 2})
		if err != nil || fmt.Sprint(topics.Topics) != "[{news 2}]" {
			t.Errorf("%+v, %v", topics, err)
		}
	}
	known(t, all, server.Target{User: "alice"})
	trace, err := all[0].Trace(server.TraceOrder{User: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := trace.Next(ctx, time.Minute); err != nil || len(b.Events) > 0 || !b.Complete() {
		t.Errorf("%+v, %v", b, err)
	}
	all[1].Push(ctx, "bob", server.NewMessage(server.Text, []byte("x")))
	if b, err := trace.Next(ctx, time.Minute); err != nil || len(b.Events) != 1 || b.Events[0].Event != "delivered" || b.Events[0].Node != all[1].cluster.Name() {
		t.Errorf("%+v, %v", b, err)
	}
	trace.End(ctx)
	p, err := all[0].UserSessionPage(ctx, server.SessionQuery{User: "alice", Node: all[1].cluster.Name(), Dialect: server.ProtocolV1, Limit: 9})
	if err != nil || len(p.Sessions) != 1 || p.Sessions[0].Node != all[1].cluster.Name() {
		t.Fatalf("%+v, %v", p, err)
	}
	if d, err := all[0].CloseSession(ctx, p.Sessions[0].ID, 4000, "bye"); err != nil || d.Receivers != 1 || !d.Complete() {
		t.Errorf("%+v, %v", d, err)
	}
	clients[1].closed(4000)
	d, err := all[0].StartClose(ctx, server.CloseOrder{All: true, Over: server.MinPace, Code: 4001})
	if err != nil || !d.Complete() {
		t.Fatalf("%+v, %v", d, err)
	}
	await(t, "the end", func() bool {
		c, err := all[1].FindClose(ctx, d.ID)
		return err == nil && c.State == server.PacedDone && c.Receivers == c.Of && c.Receivers >= 2
	})
	for _, c := range []*client{clients[0], clients[2], clients[3]} {
		c.closed(4001)
	}
}
