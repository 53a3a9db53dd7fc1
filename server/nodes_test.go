package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox"
)

// natsOutside is a NATS with JetStream that listens, as an outside one does.
type natsOutside struct {
	t    testing.TB
	opts natsserver.Options
	ns   *natsserver.Server
}

func startNATS(t testing.TB) *natsOutside {
	n := &natsOutside{t: t, opts: natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
	}}
	n.start()
	t.Cleanup(n.stop)
	n.opts.Port = n.ns.Addr().(*net.TCPAddr).Port
	return n
}

func (n *natsOutside) start() {
	n.t.Helper()
	opts := n.opts
	ns, err := natsserver.NewServer(&opts)
	if err != nil {
		n.t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(patience) {
		n.t.Fatal("NATS does not start")
	}
	n.ns = ns
}

func (n *natsOutside) stop() {
	n.ns.Shutdown()
	n.ns.WaitForShutdown()
}

func (n *natsOutside) config() Config {
	return Config{
		Logger: slog.New(slog.DiscardHandler),
		Inbox:  &inbox.Config{URL: n.ns.ClientURL(), Timeout: time.Second, Logger: slog.New(slog.DiscardHandler)},
	}
}

// startNodes starts nodes that know each other.
func startNodes(t testing.TB, n *natsOutside, count int) (all []*apiServer) {
	t.Helper()
	for range count {
		all = append(all, newAPIServer(t, n.config(), nil))
	}
	for _, s := range all {
		await(t, "the nodes know each other", func() bool { return s.nodes.routes.Nodes() == count })
	}
	return all
}

// known waits until the others know that a node holds users and topics.
func known(t testing.TB, all []*apiServer, to ...inbox.To) {
	t.Helper()
	for _, s := range all {
		for _, to := range to {
			await(t, "interest is known", func() bool { return s.nodes.routes.Others(to) })
		}
	}
}

func TestNodes(t *testing.T) {
	all := startNodes(t, startNATS(t), 3)
	// alice is on two nodes, bob on the third, and nobody is asked on his.
	a0 := dial(t, all[0].Server, "/ws?user=alice&topic=news")
	a1 := dial(t, all[1].Server, "/ws?user=alice&topic=news")
	b2 := dial(t, all[2].Server, "/ws?user=bob")
	known(t, all[2:], inbox.ToUser("alice"), inbox.ToTopic("news"))
	known(t, all[:2], inbox.ToUser("bob"))
	await(t, "both of alice are known", func() bool {
		return len(all[2].connectionsEverywhere(t.Context(), "alice")) == 2 && all[2].followersEverywhere("news") == 2
	})
	everybody := []*client{a0, a1, b2}
	for _, test := range []struct {
		name, method, path, body, answer string
		receivers                        []*client
	}{
		{"user", "POST", "/v1/users/alice/push", "x", `{"receivers":2}`, everybody[:2]},
		{"topic", "POST", "/v1/topics/news/push", "x", `{"receivers":2}`, everybody[:2]},
		{"everybody", "POST", "/v1/broadcast", "x", `{"receivers":3}`, everybody},
		{"several", "POST", "/v1/push", `{"users":["alice","bob"],"topics":["news"],"text":"x"}`, `{"receivers":3}`, everybody},
		{"document", "POST", "/v1/push", `{"users":["alice"],"text":"x"}`, `{"receivers":2}`, everybody[:2]},
		{"followers", "GET", "/v1/topics/news", "", `{"topic":"news","connections":2}`, nil},
		{"follow", "PUT", "/v1/topics/sport/users/alice", "", `{"connections":2}`, nil},
		{"unfollow", "DELETE", "/v1/topics/sport/users/alice", "", `{"connections":2}`, nil},
		{"kick", "DELETE", "/v1/users/alice?code=4000", "", `{"closed":2}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := all[2].call(test.method, test.path, test.body, "Content-Type", "text/plain"); strings.TrimSpace(got.body) != test.answer {
				t.Errorf("got %v, want %s", got, test.answer)
			}
			for _, c := range test.receivers {
				c.want(Text, "x")
			}
		})
	}
	a0.wantClose(4000)
	a1.wantClose(4000)
	if got := all[1].call("GET", "/v1/users/bob", ""); !strings.Contains(got.body, `"online":true`) || !strings.Contains(got.body, all[2].nodes.routes.Self()) {
		t.Errorf("got %v", got)
	}
	if got := all[0].call("GET", "/v1/stats", ""); !strings.Contains(got.body, `"nodes":3`) {
		t.Errorf("got %v", got)
	}
	// A node that goes takes its users with it.
	b2.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := all[2].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	await(t, "the node is gone", func() bool { return all[0].nodes.routes.Nodes() == 2 })
	if got := all[0].call("GET", "/v1/users/bob", ""); !strings.Contains(got.body, `"online":false`) {
		t.Errorf("got %v", got)
	}
}

func TestNodesForget(t *testing.T) {
	all := startNodes(t, startNATS(t), 2)
	c := dial(t, all[0].Server, "/ws?user=alice&topic=news")
	known(t, all[1:], inbox.ToUser("alice"), inbox.ToTopic("news"))
	c.Close()
	await(t, "alice is gone", func() bool { return !all[1].nodes.routes.Others(inbox.ToUser("alice")) })
	all[0].nodes.forget()
	await(t, "nobody follows", func() bool { return !all[1].nodes.routes.Others(inbox.ToTopic("news")) })
}

// TestNodesKeepTheOrder: messages stored through all nodes at once arrive in the
// order of their offsets, without a gap or a double, on whichever node.
func TestNodesKeepTheOrder(t *testing.T) {
	all := startNodes(t, startNATS(t), 3)
	clients := []*client{dial(t, all[0].Server, "/ws?user=alice", v1), dial(t, all[1].Server, "/ws?user=alice", v1)}
	for _, c := range clients {
		if m := c.hear(); m.Type != "hello" {
			t.Fatalf("got %+v", m)
		}
	}
	const each = 100
	var mu sync.Mutex
	var offsets []uint64
	var pushing sync.WaitGroup
	for i, s := range all {
		pushing.Go(func() {
			for n := range each {
				st := pushDurable(t, s.Server, "alice", fmt.Sprintf("%d/%d", i, n))
				mu.Lock()
				offsets = append(offsets, st.Offset)
				mu.Unlock()
			}
		})
	}
	got := make([][]uint64, len(clients))
	for i, c := range clients {
		pushing.Go(func() {
			for range each * len(all) {
				m := c.hear()
				if m.Gap {
					t.Errorf("gap before %d", m.Offset)
				}
				got[i] = append(got[i], m.Offset)
			}
		})
	}
	pushing.Wait()
	slices.Sort(offsets)
	for i := range clients {
		if !slices.Equal(got[i], offsets) {
			t.Errorf("client %d got %v, want %v", i, got[i], offsets)
		}
	}
}

func TestOutage(t *testing.T) {
	outside := startNATS(t)
	all := startNodes(t, outside, 2)
	c := dial(t, all[0].Server, "/ws?user=alice", v1)
	c.hear()
	pushDurable(t, all[0].Server, "alice", "one")
	if m := c.hear(); m.Text != "one" {
		t.Fatalf("got %+v", m)
	}
	away := pushDurable(t, all[0].Server, "bob", "waits")

	outside.stop()
	await(t, "the outage is noticed", func() bool { return all[0].call("GET", "/readyz", "").status == 503 })
	if got := all[0].call("POST", "/v1/users/alice/push?durable=true", "x"); got.status != 503 || got.errorCode() != "unavailable" {
		t.Errorf("durable: %v", got)
	}
	if got := all[0].call("POST", "/v1/users/alice/push", "live", "Content-Type", "text/plain"); got.status != 200 || !strings.Contains(got.body, `"receivers":1`) {
		t.Errorf("live: %v", got)
	}
	if m := c.hear(); m.Text != "live" {
		t.Fatalf("got %+v", m)
	}
	bob := dial(t, all[1].Server, "/ws?user=bob", v1) // who comes now gets what is his later
	if _, err := all[1].PushDurable(context.Background(), "bob", Durable{Op: Text}); !errors.Is(err, inbox.ErrUnavailable) {
		t.Errorf("got %v", err)
	}

	outside.start()
	await(t, "everything resumes", func() bool { return all[0].call("GET", "/readyz", "").status == 200 })
	if m := bob.hear(); m.Type != "hello" {
		t.Fatalf("got %+v", m)
	}
	if m := bob.hear(); m.Offset != away.Offset {
		t.Fatalf("got %+v, want %d", m, away.Offset)
	}
	await(t, "durable pushes are taken", func() bool {
		_, err := all[1].PushDurable(context.Background(), "alice", Durable{Op: Text, Payload: []byte("two"), ID: "two"})
		return err == nil
	})
	if m := c.hear(); m.Text != "two" || m.Gap {
		t.Fatalf("got %+v", m)
	}
}

// TestNATSComesLate: nodes start without one, and resume by themselves.
func TestNATSComesLate(t *testing.T) {
	outside := startNATS(t)
	cfg := outside.config()
	outside.stop()
	var all []*apiServer
	for range 2 {
		each, in := cfg, *cfg.Inbox
		each.Inbox = &in
		all = append(all, newAPIServer(t, each, nil))
	}
	c := dial(t, all[0].Server, "/ws?user=alice", v1)
	if got := all[0].call("GET", "/readyz", ""); got.status != 503 {
		t.Errorf("got %v", got)
	}
	if got := all[0].call("POST", "/v1/users/alice/push?durable=true", "x"); got.status != 503 || got.errorCode() != "unavailable" {
		t.Errorf("got %v", got)
	}
	if got := all[0].call("POST", "/v1/users/alice/push", "live", "Content-Type", "text/plain"); got.status != 200 {
		t.Errorf("got %v", got)
	}
	if m := c.hear(); m.Text != "live" {
		t.Fatalf("got %+v", m)
	}
	outside.start()
	for _, s := range all {
		await(t, "all are ready", func() bool { return s.call("GET", "/readyz", "").status == 200 && s.nodes.routes.Nodes() == 2 })
	}
	if m := c.hear(); m.Type != "hello" {
		t.Fatalf("got %+v", m)
	}
	pushDurable(t, all[1].Server, "alice", "stored")
	if m := c.hear(); m.Text != "stored" || m.Offset != 1 {
		t.Fatalf("got %+v", m)
	}
}

func TestOrderOnTheWire(t *testing.T) {
	want := order{verb: verbStored, op: Binary, offset: 1 << 60, prev: 7, user: "älice", topic: "t", payload: []byte("\x00x")}
	b := want.encode()
	var got order
	if err := got.decode(b); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range len(b) - len(want.payload) {
		if err := got.decode(b[:n]); err == nil {
			t.Errorf("the first %d bytes pass", n)
		}
	}
	b[0]++
	if err := got.decode(b); err == nil {
		t.Error("another version passes")
	}
}

func FuzzOrder(f *testing.F) {
	f.Add((&order{verb: verbPush, op: Text, user: "u", payload: []byte("x")}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var o order
		if o.decode(b) == nil {
			var again order
			if err := again.decode(o.encode()); err != nil || fmt.Sprint(again) != fmt.Sprint(o) {
				t.Errorf("%+v becomes %+v, %v", o, again, err)
			}
		}
	})
}
