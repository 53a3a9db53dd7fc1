package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/registry"
)

// brief describes an event without what differs from run to run.
func brief(e TraceEvent) string {
	parts := []string{e.Event}
	if e.Node != "" {
		parts = append(parts, e.Node)
	}
	for _, s := range append(e.Topics, e.Topic, e.Dialect, e.By, e.Reason) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	for _, n := range []int{int(e.Offset), e.Bytes, e.Status, int(e.Code)} {
		if n != 0 {
			parts = append(parts, fmt.Sprint(n))
		}
	}
	if e.Text != nil {
		parts = append(parts, *e.Text)
	}
	return strings.Join(parts, " ")
}

// wantEvents reads events of a trace, in the order in which they come.
func wantEvents(t testing.TB, tr *Trace, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); len(got) < len(want) && time.Now().Before(end); {
		b, err := tr.Next(t.Context(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			if e.Time.IsZero() || (e.Session == "") != (e.Event == "rejected" || e.Event == "lost") {
				t.Errorf("%+v", e)
			}
			got = append(got, brief(e))
		}
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// TestTrace follows a user through everything that can happen, on two nodes.
func TestTrace(t *testing.T) {
	cluster := newFakeClusters(2)
	cfg := withInbox(t)
	cfg.Cluster, cfg.TopicsPerSession, cfg.PingInterval, cfg.PingTimeout = cluster[0], 2, 2*time.Second, 2*time.Second
	here, clock := startStopped(t, cfg)
	there := start(t, Config{Cluster: cluster[1]})
	ctx := t.Context()
	tr, err := here.Trace(TraceOrder{User: "a", Payload: true})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := tr.Next(ctx, time.Minute); err != nil || len(b.Events) != 0 || !b.Complete() {
		t.Fatalf("%+v, %v", b, err)
	}

	c := dial(t, there, "/ws?user=a&topic=t")
	dial(t, there, "/ws?user=b&topic=t") // nothing of it is reported
	wantEvents(t, tr, "opened node/1 t plain")
	here.Push(ctx, "a", NewMessage(Text, []byte("hello")))
	here.Push(ctx, "b", NewMessage(Text, []byte("hello")))
	c.want(Text, "hello")
	here.SubscribeUser(ctx, "a", "u")
	here.UnsubscribeUser(ctx, "a", "u")
	wantEvents(t, tr, "delivered node/1 5 hello", "subscribed node/1 u", "unsubscribed node/1 u")
	c.send(ws.OpClose, "\x0f\xa0bye")
	wantEvents(t, tr, "closed node/1 client bye 4000")

	d := dial(t, here, "/ws?user=a", "Sec-WebSocket-Protocol: fanfare.v1")
	wantEvents(t, tr, "opened node/0 fanfare.v1")
	st := pushDurable(t, here, "a", "kept")
	d.hear()
	d.hear()
	d.send(Text, fmt.Sprintf(`{"type":"ack","epoch":%q,"offset":%d}`, st.Epoch, st.Offset))
	wantEvents(t, tr, fmt.Sprintf("delivered node/0 %d 4 kept", st.Offset), fmt.Sprintf("acknowledged node/0 %d", st.Offset))
	late := connect(t, here)
	late.say(handshakeFor("/ws?user=a&topic=1&topic=2&topic=3"))
	if resp := late.answer(); resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
	wantEvents(t, tr, "rejected node/0 more than 2 topics 400")
	await(t, "the end of a silent session", func() bool { clock.pass(tick); return here.Stats().Dead > 0 })
	wantEvents(t, tr, "ping_timeout node/0", "closed node/0 network 1006")

	// Other nodes that are missing are news, and so is that they are back.
	cluster[0].set(func(f *fakeCluster) { f.missing, f.missingNodes = 1, []string{"node/9"} })
	if b, err := tr.Next(ctx, time.Minute); err != nil || b.Complete() || len(b.MissingNodes) != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	cluster[0].set(func(f *fakeCluster) { f.missing, f.missingNodes = 0, nil })
	if b, err := tr.Next(ctx, time.Minute); err != nil || !b.Complete() {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := tr.Next(ctx, time.Millisecond); err != nil || len(b.Events) != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := tr.Next(canceled, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	tr.End(ctx)
	if here.traces.Running() || there.traces.Running() {
		t.Error("the trace runs after its end")
	}
}

// TestTraceSlow: a trace tells what a slow client does not receive.
func TestTraceSlow(t *testing.T) {
	srv := start(t, Config{CloseTimeout: 100 * time.Millisecond})
	ctx := t.Context()
	tr, err := srv.Trace(TraceOrder{User: "a"})
	if err != nil {
		t.Fatal(err)
	}
	dial(t, srv, "/ws?user=a&topic=t") // its client reads nothing
	for srv.engine.Stats().Dropped == 0 {
		srv.Publish(ctx, "t", NewMessage(Binary, numbered(0)))
	}
	for srv.Stats().Slow == 0 {
		srv.Push(ctx, "a", NewMessage(Binary, numbered(0)))
	}
	counts := map[string]int{}
	for counts["closed"] == 0 {
		b, err := tr.Next(ctx, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			if counts[e.Event]++; e.Event == "dropped" && (e.Queued == 0 || !strings.Contains(e.Reason, "older messages")) ||
				e.Event == "closed" && (e.Code != 1013 || e.Reason != "too slow") || e.Text != nil || e.Base64 != nil {
				t.Errorf("%+v", e)
			}
		}
		if b.Events == nil {
			t.Fatalf("no further events after %v", counts)
		}
	}
	if counts["opened"]+counts["lost"] == 0 || counts["delivered"] == 0 || counts["dropped"] == 0 {
		t.Errorf("%v", counts)
	}
	for range MaxTraces - 1 {
		if _, err := srv.Trace(TraceOrder{User: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := srv.Trace(TraceOrder{User: "b"}); !errors.Is(err, ErrManyTraces) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := srv.Trace(TraceOrder{}); !errors.Is(err, registry.ErrName) {
		t.Errorf("no user: %v", err)
	}
}

// TestTraceCosts: sessions pay nothing while no trace runs, and only a look for the trace of
// another user.
func TestTraceCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	srv := start(t, Config{})
	c := dial(t, srv, "/ws?user=a&topic=t")
	s, m := only(t, srv, "a"), NewMessage(Text, []byte("x"))
	look := func() {
		s.traceTopic("t", true)
		s.traceDropped("")
		if srv.traces.Running() {
			s.traceDelivered(m.content)
		}
		if s.traced() != nil {
			t.Error("the user is traced")
		}
	}
	if n := testing.AllocsPerRun(100, look); n != 0 {
		t.Errorf("%v allocations without a trace", n)
	}
	tr, err := srv.Trace(TraceOrder{User: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, look); n != 0 {
		t.Errorf("%v allocations with a trace of another user", n)
	}
	tr.End(t.Context())
	c.Close()
}
