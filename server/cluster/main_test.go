package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fanfare/internal/leak"
	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, 10*time.Second, "testing.(*M).startAlarm", "internal/fuzz.", "testing.runFuzzing", "nats-server/v2/server/ats.", "nats-server/v2/server/pse.", "os/signal.")
}

// patience bounds what a test waits for; nothing is judged by how long it takes.
const patience = 30 * time.Second

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// Log collects log lines.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often the log has a text.
func (l *Log) Count(s string) int { return strings.Count(l.String(), s) }

func startNATS(t testing.TB) *natstest.Server {
	t.Helper()
	return natstest.Start(t, natsserver.Options{})
}

// fakeNode records the commands it serves.
type fakeNode struct {
	serve  func(*server.Command) server.Reply // nil: Reply{Count: 1}
	missed atomic.Int64

	mu     sync.Mutex
	served []server.Command // guarded by mu
}

func (n *fakeNode) Serve(c *server.Command) server.Reply {
	n.mu.Lock()
	n.served = append(n.served, *c)
	n.mu.Unlock()
	if n.serve != nil {
		return n.serve(c)
	}
	return server.Reply{Count: 1}
}

func (n *fakeNode) Missed() { n.missed.Add(1) }

// commands returns what was served.
func (n *fakeNode) commands() []server.Command {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.served)
}

// member is a node of a cluster under test.
type member struct {
	*Cluster
	node *fakeNode
	log  *Log
}

// clock is the clock of a node under test. Its time is years before the machine's, so that
// a node that uses both does not work, and the test can advance it.
type clock struct {
	began time.Time
	added atomic.Int64 // ns
}

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) now() time.Time {
	return time.Unix(1e9, 0).Add(time.Since(c.began) + time.Duration(c.added.Load()))
}

func (c *clock) advance(d time.Duration) { c.added.Add(int64(d)) }

func join(t testing.TB, url string, change ...func(*Config)) *member {
	t.Helper()
	return joinNode(t, &fakeNode{}, url, change...)
}

func joinNode(t testing.TB, node *fakeNode, url string, change ...func(*Config)) *member {
	t.Helper()
	return joinAt(t, time.Now, node, url, change...)
}

// joinAt is joinNode with a clock.
func joinAt(t testing.TB, now func() time.Time, node *fakeNode, url string, change ...func(*Config)) *member {
	t.Helper()
	log := new(Log)
	// No node is given up because the machine is slow.
	cfg := Config{URL: url, Timeout: 20 * time.Second, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&cfg)
	}
	c, err := start(t.Context(), cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Leave)
	if err := c.Join(node); err != nil {
		t.Fatal(err)
	}
	return &member{c, node, log}
}

// short is a Config whose nodes are given up soon.
func short(cfg *Config) { cfg.Timeout = 200 * time.Millisecond }

// joinAll returns nodes that know each other.
func joinAll(t testing.TB, url string, count int, change ...func(*Config)) (all []*member) {
	t.Helper()
	for range count {
		all = append(all, join(t, url, change...))
	}
	together(t, all)
	return all
}

// together waits until all nodes know each other and are linked.
func together(t testing.TB, all []*member) {
	t.Helper()
	for _, m := range all {
		await(t, "nodes know each other", func() bool {
			return m.Nodes() == len(all) && m.Ready() == nil && len(m.peers.unlinked(m.now())) == 0
		})
	}
}

// mustAsk repeats a command until one node replies. On a machine that is busy enough NATS
// does not read for so long that a node gives it up.
func (m *member) mustAsk(t testing.TB, to server.Target, cmd *server.Command) server.Answer {
	t.Helper()
	var last string
	for deadline := time.Now().Add(4 * patience); time.Now().Before(deadline); {
		a, err := m.Ask(t.Context(), to, cmd)
		if err == nil && len(a.Replies) == 1 && a.Missing == 0 {
			return a
		}
		last = fmt.Sprintf("%d replies, %+v, %v", len(a.Replies), a.Coverage, err)
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no reply: %s\n%s", last, m.log)
	return server.Answer{}
}

// mustSync repeats Sync until it succeeds.
func (m *member) mustSync(t testing.TB, to server.Target) {
	t.Helper()
	await(t, "interest is proven", func() bool { return m.Sync(t.Context(), to) == nil })
}

// known waits until the nodes know that another one holds a target.
func known(t testing.TB, to server.Target, all ...*member) {
	t.Helper()
	for _, m := range all {
		await(t, "interest is known", func() bool { return m.Shared(to) })
	}
}

func user(name string) server.Target  { return server.Target{User: name} }
func topic(name string) server.Target { return server.Target{Topic: name} }

func push(to, text string) *server.Command {
	return &server.Command{Verb: server.VerbPush, User: to, Op: server.Text, Payload: []byte(text)}
}

// outsider is a NATS client that is not a node.
func outsider(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
