package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/cluster"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// Whole nodes: servers with a store and a cluster on one outside NATS.

const patience = 30 * time.Second

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// nats is an outside NATS with JetStream.
type nats struct {
	t    testing.TB
	opts natsserver.Options
	ns   *natsserver.Server
}

func startNATS(t testing.TB) *nats {
	n := &nats{t: t, opts: natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true,
	}}
	n.start()
	t.Cleanup(n.stop)
	n.opts.Port = n.ns.Addr().(*net.TCPAddr).Port
	return n
}

func (n *nats) start() {
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

func (n *nats) stop() {
	n.ns.Shutdown()
	n.ns.WaitForShutdown()
}

// node is one server with its store and cluster.
type node struct {
	*server.Server
	t       testing.TB
	store   *inbox.Store
	cluster *cluster.Cluster
}

func startNode(t testing.TB, url string, topics ...string) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx := context.Background()
	st, err := inbox.Open(ctx, inbox.Config{URL: url, Timeout: 2 * time.Second, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	cl, err := cluster.New(ctx, cluster.Config{URL: url, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Store: st, Cluster: cl, DurableTopics: topics, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return &node{srv, t, st, cl}
}

// startNodes starts nodes that know each other.
func startNodes(t testing.TB, url string, count int, topics ...string) (all []*node) {
	t.Helper()
	for range count {
		all = append(all, startNode(t, url, topics...))
	}
	for _, n := range all {
		await(t, "the nodes know each other", func() bool { return n.cluster.Nodes() == count && n.store.Ready() == nil })
	}
	return all
}

// known waits until nodes know that another one holds a target.
func known(t testing.TB, all []*node, targets ...server.Target) {
	t.Helper()
	for _, n := range all {
		for _, target := range targets {
			await(t, "interest is known", func() bool { return n.cluster.Shared(target) })
		}
	}
}

// said is an object of fanfare.v1.
type said struct {
	Type, User, Text, Topic, Epoch string
	Offset                         uint64
	Gap                            bool
}

// client speaks fanfare.v1.
type client struct {
	net.Conn
	t testing.TB
}

func (n *node) dial(query string) *client {
	n.t.Helper()
	d := ws.Dialer{Protocols: []string{server.ProtocolV1}}
	c, br, _, err := d.Dial(context.Background(), "ws://"+n.Addr().String()+"/ws?"+query)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * patience))
	if br != nil {
		c = readConn{c, br}
	}
	return &client{c, n.t}
}

// readConn gives back what the dialer has read ahead.
type readConn struct {
	net.Conn
	r interface{ Read([]byte) (int, error) }
}

func (c readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *client) hear() (m said) {
	c.t.Helper()
	b, err := wsutil.ReadServerText(c.Conn)
	if err != nil {
		c.t.Fatalf("heard nothing: %v", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("%s: %v", b, err)
	}
	return m
}

func (c *client) want(want said) {
	c.t.Helper()
	m := c.hear()
	m.Epoch = ""
	if m != want {
		c.t.Fatalf("got %+v, want %+v", m, want)
	}
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c.Conn, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

func (n *node) push(user, text string) (server.Stored, error) {
	return n.PushStored(context.Background(), user, server.Entry{Op: server.Text, Payload: []byte(text), ID: text})
}

func (n *node) mustPush(user, text string) server.Stored {
	n.t.Helper()
	st, err := n.push(user, text)
	if err != nil {
		n.t.Fatal(err)
	}
	return st
}

func TestNodes(t *testing.T) {
	all := startNodes(t, startNATS(t).ns.ClientURL(), 3)
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

// TestStoredOrder: messages that all nodes store at once arrive in the order of their
// offsets, without a gap or a duplicate, on every node.
func TestStoredOrder(t *testing.T) {
	all := startNodes(t, startNATS(t).ns.ClientURL(), 3)
	clients := []*client{all[0].dial("user=alice"), all[1].dial("user=alice")}
	for _, c := range clients {
		c.want(said{Type: "hello", User: "alice"})
	}
	const each = 50
	var mu sync.Mutex
	var offsets []uint64
	var work sync.WaitGroup
	for i, n := range all {
		work.Go(func() {
			for k := range each {
				// An entry that the store did not confirm in time may be stored: the ID
				// makes the repetition harmless.
				st, err := n.push("alice", fmt.Sprintf("%d/%d", i, k))
				for errors.Is(err, store.ErrUnavailable) {
					st, err = n.push("alice", fmt.Sprintf("%d/%d", i, k))
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				offsets = append(offsets, st.Offset)
				mu.Unlock()
			}
		})
	}
	got := make([][]uint64, len(clients))
	for i, c := range clients {
		work.Go(func() {
			for range each * len(all) {
				m := c.hear()
				if m.Gap {
					t.Errorf("gap before %d", m.Offset)
				}
				got[i] = append(got[i], m.Offset)
			}
		})
	}
	work.Wait()
	slices.Sort(offsets)
	for i := range clients {
		if !slices.Equal(got[i], offsets) {
			t.Errorf("client %d got %v, want %v", i, got[i], offsets)
		}
	}
}

// TestOutage: while NATS is away live pushes reach local sessions, stored ones are
// rejected, and everything resumes by itself.
func TestOutage(t *testing.T) {
	outside := startNATS(t)
	all := startNodes(t, outside.ns.ClientURL(), 2)
	c := all[0].dial("user=alice")
	c.want(said{Type: "hello", User: "alice"})
	first := all[0].mustPush("alice", "one")
	c.want(said{Type: "message", Offset: first.Offset, Text: "one"})
	away := all[0].mustPush("bob", "waits")

	outside.stop()
	await(t, "the outage is noticed", func() bool { return all[0].store.Ready() != nil && all[0].cluster.Ready() != nil })
	if _, err := all[0].push("alice", "not stored"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("stored push: %v", err)
	}
	d, err := all[0].Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("live")))
	if err != nil || d.Receivers != 1 || d.Complete() {
		t.Errorf("live push: %+v, %v: want one receiver, and that the other node was not reached", d, err)
	}
	c.want(said{Type: "message", Text: "live"})
	if list := all[0].Sessions(t.Context(), "bob"); list.Complete() {
		t.Errorf("the list claims to be complete: %+v", list)
	}
	bob := all[1].dial("user=bob") // gets what is his later

	outside.start()
	await(t, "the stores resume", func() bool { return all[0].store.Ready() == nil && all[1].store.Ready() == nil })
	m := bob.hear()
	for m.Type == "hello" { // one without an epoch while the store is away, then one with it
		m = bob.hear()
	}
	if m.Type != "message" || m.Offset != away.Offset || m.Text != "waits" || m.Gap {
		t.Fatalf("got %+v", m)
	}
	await(t, "stored pushes are accepted", func() bool { _, err := all[1].push("alice", "two"); return err == nil })
	if m := c.hear(); m.Text != "two" || m.Gap {
		t.Fatalf("got %+v", m)
	}
}

// TestDurableTopic: a subscriber moves between nodes and misses nothing.
func TestDurableTopic(t *testing.T) {
	all := startNodes(t, startNATS(t).ns.ClientURL(), 2, "news.*")
	c := all[0].dial("user=alice&topic=news.a")
	c.want(said{Type: "hello", User: "alice"})
	c.want(said{Type: "subscribe", Topic: "news.a"})
	known(t, all[1:], server.Target{Topic: "news.a"})
	publish := func(text string) uint64 {
		t.Helper()
		st, err := all[1].PublishStored(t.Context(), "news.a", server.Entry{Op: server.Text, Payload: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return st.Offset
	}
	first := publish("x")
	m := c.hear()
	if m.Text != "x" || m.Offset != first || m.Topic != "news.a" {
		t.Fatalf("got %+v", m)
	}
	c.say(`{"type":"ack","topic":"news.a","epoch":%q,"offset":%d}`, m.Epoch, m.Offset)
	await(t, "the ack is stored", func() bool {
		at, _, err := all[1].store.Acked(t.Context(), store.Box{Topic: "news.a"}, "alice")
		return err == nil && at == first
	})
	c.Close()
	await(t, "alice is gone", func() bool { return len(all[1].Sessions(t.Context(), "alice").Sessions) == 0 })
	second, third := publish("y"), publish("z")
	c = all[1].dial("user=alice&topic=news.a")
	if m := c.hear(); m.Type != "hello" {
		t.Fatalf("got %+v", m)
	}
	c.want(said{Type: "subscribe", Topic: "news.a", Offset: first})
	c.want(said{Type: "message", Topic: "news.a", Offset: second, Text: "y"})
	c.want(said{Type: "message", Topic: "news.a", Offset: third, Text: "z"})
}

// TestNATSComesLate: nodes start without NATS, and resume by themselves.
func TestNATSComesLate(t *testing.T) {
	outside := startNATS(t)
	url := outside.ns.ClientURL()
	outside.stop()
	all := []*node{startNode(t, url), startNode(t, url)}
	c := all[0].dial("user=alice")
	if d, err := all[0].Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("live"))); err != nil || d.Receivers != 1 {
		t.Errorf("got %+v, %v", d, err)
	}
	if m := c.hear(); m.Type != "hello" || m.Epoch != "" {
		t.Fatalf("got %+v, want a hello before the live message", m)
	}
	c.want(said{Type: "message", Text: "live"})
	outside.start()
	for _, n := range all {
		await(t, "the node is ready", func() bool { return n.store.Ready() == nil && n.cluster.Nodes() == 2 })
	}
	if m := c.hear(); m.Type != "hello" || m.Epoch == "" {
		t.Fatalf("got %+v, want a hello with an epoch", m)
	}
	st := all[1].mustPush("alice", "stored")
	c.want(said{Type: "message", Offset: st.Offset, Text: "stored"})
}
