package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// startRouted starts two NATS servers of one cluster. Data between them arrives after
// delay.
func startRouted(t *testing.T, delay time.Duration) (a, b *natstest.Server) {
	t.Helper()
	routed := func(name string, routes ...*url.URL) *natstest.Server {
		return natstest.Start(t, natsserver.Options{
			ServerName: name,
			Cluster:    natsserver.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoAdvertise: true},
			Routes:     routes,
		})
	}
	a = routed("a")
	p := StartProxy(t, a.ClusterAddr().String(), delay)
	b = routed("b", &url.URL{Scheme: "nats", Host: p.Addr()})
	await(t, "the servers are routed", func() bool { return a.NumRoutes() > 0 && a.NumRoutes() == b.NumRoutes() })
	return a, b
}

// send sends a command without waiting for anything.
func (m *member) send(t *testing.T, to server.Target, cmd *server.Command) {
	t.Helper()
	body := appendCommand(appendNumbers(appendHeader(nil, kindCommand, m.id), 0), cmd)
	if err := m.dispatch(outgoing{subject: targetOf(to).subject(), body: body}); err != nil {
		t.Fatal(err)
	}
}

// TestSyncAcrossServers: when Sync has returned, a command of a node at another
// NATS server arrives, although servers tell each other of interest late.
func TestSyncAcrossServers(t *testing.T) {
	a, b := startRouted(t, 20*time.Millisecond)
	here, same, there := join(t, a.ClientURL()), join(t, a.ClientURL()), join(t, b.ClientURL())
	together(t, []*member{here, same, there})
	const users = 20
	for i := range users {
		to := user(fmt.Sprint("user", i))
		here.Hold(to)
		here.mustSync(t, to)
		there.send(t, to, push(to.User, "x"))
		same.send(t, to, push(to.User, "x"))
	}
	await(t, "every command arrives", func() bool { return len(here.node.commands()) == 2*users })
	// A link that is proven needs no other probe, nor does a user that comes back soon.
	rounds := here.Stats().Sent
	for range 1000 {
		here.Release(user("user0"))
		here.Hold(user("user0"))
		if err := here.Sync(t.Context(), user("user0")); err != nil {
			t.Fatal(err)
		}
	}
	if got := here.Stats().Sent - rounds; got > 500 {
		t.Errorf("%d messages were sent", got)
	}
}

// TestSyncManyAtOnce: calls of Sync share probes.
func TestSyncManyAtOnce(t *testing.T) {
	a, b := startRouted(t, 20*time.Millisecond)
	here, there := join(t, a.ClientURL()), join(t, b.ClientURL())
	together(t, []*member{here, there})
	const users = 500
	errs := make(chan error, users)
	for i := range users {
		go func() {
			to := user(fmt.Sprint("user", i))
			here.Hold(to)
			err := here.Sync(t.Context(), to)
			for errors.Is(err, server.ErrUnreachable) { // the machine is busy
				err = here.Sync(t.Context(), to)
			}
			if err == nil {
				there.send(t, to, push(to.User, "x"))
			}
			errs <- err
		}()
	}
	for range users {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	await(t, "every command arrives", func() bool { return len(here.node.commands()) == users })
}

// TestSyncWithSilentNode: a node that does not answer delays Sync by no more than
// Config.Timeout. When it is back, Missed is called.
func TestSyncWithSilentNode(t *testing.T) {
	ns := startNATS(t)
	p := StartProxy(t, ns.Addr().String(), 0)
	here, silent := join(t, ns.ClientURL(), short), join(t, "nats://"+p.Addr())
	together(t, []*member{here, silent})
	await(t, "Missed is called after the start", func() bool { return here.node.missed.Load() > 0 })
	p.Stall(true)
	here.Hold(user("alice"))
	if err := here.Sync(t.Context(), user("alice")); err != nil {
		t.Fatal(err)
	}
	missed := here.node.missed.Load()
	p.Stall(false)
	together(t, []*member{here, silent})
	await(t, "Missed is called", func() bool { return here.node.missed.Load() > missed })
}

// TestSyncAlone: without other nodes, and for a target that is not held, Sync returns.
func TestSyncAlone(t *testing.T) {
	m := join(t, startNATS(t).ClientURL())
	await(t, "connected", func() bool { return m.Ready() == nil })
	for _, to := range []server.Target{user("not held"), topic("not held"), {}} {
		if err := m.Sync(t.Context(), to); err != nil {
			t.Errorf("%+v: %v", to, err)
		}
	}
	m.Hold(user("alice"))
	if err := m.Sync(t.Context(), user("alice")); err != nil {
		t.Error(err)
	}
}

// TestFirstCommands: the stored commands that a node sends before the others have
// heard of it reach them, or they look for what they have missed.
func TestFirstCommands(t *testing.T) {
	a, b := startRouted(t, 20*time.Millisecond)
	first := join(t, a.ClientURL())
	await(t, "connected", func() bool { return first.Ready() == nil })
	to := user("alice")
	cmd := &server.Command{Verb: server.VerbStored, User: "alice", Epoch: "e", Offset: 7, Prev: 5, Op: server.Text, Payload: []byte("x")}
	if _, err := first.Ask(t.Context(), to, cmd); err != nil {
		t.Fatal(err)
	}
	second := join(t, b.ClientURL())
	second.Hold(to)
	together(t, []*member{first, second})
	await(t, "the command is repeated", func() bool {
		for _, c := range second.node.commands() {
			if c.Verb == server.VerbStored && c.User == "alice" && c.Epoch == "e" && c.Offset == 7 && c.Prev == 5 && c.Op == 0 {
				return true
			}
		}
		// On a very slow machine the start of the first node is long ago.
		return second.Stats().Missed >= 2
	})
}
