package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/cluster"
	"fanfare/server/inbox"
	"fanfare/server/internal/natstest"
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

// startNATS starts an outside NATS with JetStream.
func startNATS(t testing.TB) *natstest.Server {
	t.Helper()
	return natstest.Start(t, natsserver.Options{JetStream: true})
}

// node is one server with its store and cluster.
type node struct {
	*server.Server
	t       testing.TB
	store   *inbox.Store
	cluster *cluster.Cluster
}

// setup says how a node is started.
type setup struct {
	store, cluster string // URLs of NATS; no store if it is empty
	topics         []string
	log            io.Writer             // nil: none
	opened         func(*server.Session) // nil: none
	timeout        time.Duration         // cluster.Config.Timeout
}

func startNode(t testing.TB, url string, topics ...string) *node {
	t.Helper()
	return setup{store: url, cluster: url, topics: topics}.start(t)
}

func (s setup) start(t testing.TB) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if s.log != nil {
		log = slog.New(slog.NewTextHandler(s.log, nil))
	}
	ctx := context.Background()
	cfg := server.Config{Listen: "127.0.0.1:0", DurableTopics: s.topics, Logger: log}
	if s.opened != nil {
		push := server.PushEndpoint("/ws")
		push.Hooks.OnOpen = s.opened
		cfg.Endpoints = []server.Endpoint{push}
	}
	n := &node{t: t}
	if s.store != "" {
		st, err := inbox.Open(ctx, inbox.Config{URL: s.store, Timeout: 2 * time.Second, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(st.Close)
		n.store, cfg.Store = st, st
	}
	cl, err := cluster.New(ctx, cluster.Config{URL: s.cluster, Timeout: s.timeout, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	n.cluster, cfg.Cluster = cl, cl
	if n.Server, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		n.Shutdown(ctx)
	})
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
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

// live waits for a message that is not stored, and skips what tells of the store.
func (c *client) live(text string) {
	c.t.Helper()
	m := c.hear()
	for m.Type != "message" {
		m = c.hear()
	}
	if m.Text != text || m.Offset != 0 {
		c.t.Fatalf("got %+v, want %s", m, text)
	}
}

// closed waits for a close frame.
func (c *client) closed(code ws.StatusCode) {
	c.t.Helper()
	for {
		_, err := wsutil.ReadServerText(c.Conn)
		var closed wsutil.ClosedError
		switch {
		case errors.As(err, &closed) && closed.Code == code:
			return
		case err != nil:
			c.t.Fatalf("got %v, want a close with %d", err, code)
		}
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
