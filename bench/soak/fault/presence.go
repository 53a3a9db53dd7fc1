package fault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	presenceNodes  = 3
	presenceUsers  = 14 // who come, go and move; half of them stay at the end
	steadyUsers    = 3  // who stay connected to the first node
	presenceGrace  = 3 * time.Second
	presenceSettle = 90 * time.Second
	// stallTime is half of the time after which a node counts as dead: a first node that did not answer for as long
	// was held up by the machine.
	stallTime = 1500 * time.Millisecond
)

// presenceKinds are the faults beside which the presence of users is checked. Those of one list follow each other.
var presenceKinds = [][]string{{"kill-node", "freeze-node"}, {"cut-node", "cut-clients"}}

// presenceRun is a cluster that reports to a backend who is online.
type presenceRun struct {
	*world            // its nodes are those that faults disturb
	all     *cluster  // with the first node, which they spare
	backend *eventLog // what the webhook received
}

// presence runs users who come, go and move between nodes while all nodes but the first are killed, frozen and cut off.
// What the webhook of the cluster was told must be true at the end.
func (r *run) presence(ctx context.Context, dir string) (*Result, error) {
	tell := func(format string, args ...any) { r.tell("presence: %s", fmt.Sprintf(format, args...)) }
	c, err := newCluster(ctx, dir, shape{programs: r.programs, nats: 1})
	if err != nil {
		return nil, err
	}
	defer c.close()
	backend, err := newEventLog(c.net.home().ip)
	if err != nil {
		return nil, err
	}
	defer backend.close()
	for i := range presenceNodes {
		if err := c.addReporter(fmt.Sprintf("node%d", i+1), r.programs); err != nil {
			return nil, err
		}
		if i == 0 && r.Seed%2 == 0 { // the node that reports is spared, and has to notice what happens to the others
			if err := until(ctx, calmTime, c.nodes[0].leads); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range c.nodes {
		if err := n.ready(ctx, calmTime); err != nil {
			return nil, err
		}
	}
	disturbed := *c
	disturbed.nodes = c.nodes[1:]
	p := &presenceRun{world: newWorld(ctx, &disturbed, r.Seed), all: c, backend: backend}
	defer p.close()
	p.populate()
	if err := p.settled(nil); err != nil {
		return nil, fmt.Errorf("before any fault: %w\n%s", err, c.nodes[0].tail())
	}
	stalled := p.watch(c.nodes[0])
	m := &nemesis{world: p.world, tell: tell, counts: make(map[string]int), down: make(map[*process]int)}
	var running sync.WaitGroup
	for _, names := range presenceKinds {
		kinds, err := find(names)
		if err != nil {
			return nil, err
		}
		rnd := p.random()
		running.Go(func() { p.disturb(m, kinds, r.Each, rnd) })
	}
	running.Wait()
	if err := c.restore(ctx, calmTime); err != nil {
		return nil, err
	}
	tell("all processes are ready again")
	close(p.quiet)
	p.reconnect()
	online := p.final()
	failure := p.settled(online)
	slow := stalled()
	if slow > stallTime {
		tell("the first node did not answer for %v: that its users stayed online is not checked", slow)
	}
	failure = errors.Join(failure, p.backend.check(online, slow <= stallTime))
	if failure == nil {
		failure = p.ask(online)
	}
	result := &Result{Network: c.net.what(), Events: backend.count(), Faults: m.total(), Connects: p.connects.Load(), Alarms: c.alarms()}
	if failure != nil {
		result.Failure = "fault: " + failure.Error()
		if err := backend.dump(filepath.Join(dir, "history.log")); err != nil {
			return nil, err
		}
	}
	tell("%d events, %d of them repeated; %d connections; faults %v", result.Events, backend.repeats(), result.Connects, result.Faults)
	return result, ctx.Err()
}

// addReporter starts a node whose webhook is the backend.
func (c *cluster) addReporter(name string, programs Programs) error {
	at, err := c.net.add(name)
	if err != nil {
		return err
	}
	hook, err := c.net.via(at, c.net.home(), hookPort)
	if err != nil {
		return err
	}
	secret := filepath.Join(c.dir, "webhook.secret.conf")
	text := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))
	if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	n, err := c.addNode(at, shape{programs: programs, args: []string{"--node-name", name,
		"--ping-interval", "1s", "--ping-timeout", "1s", "--offline-grace", presenceGrace.String(),
		"--webhook", "http://" + hook + "/events user.*", "--webhook-insecure-http", "--webhook-secret-file", secret, "--webhook-timeout", "2s"}})
	if err != nil {
		return err
	}
	return n.start()
}

// leads returns an error until the node has logged that it reports for all.
func (n *node) leads(context.Context) error {
	if !strings.Contains(n.tail(), "presence: this node leads") {
		return fmt.Errorf("%s does not lead", n.name)
	}
	return nil
}

// populate starts the users.
func (p *presenceRun) populate() {
	for i := range steadyUsers {
		p.start(steadyUser(i), p.all.nodes[:1], true)
	}
	for i := range presenceUsers {
		p.start(movingUser(i), p.all.nodes, i%2 == 0)
		if i%3 == 0 { // a second device
			p.start(movingUser(i), p.all.nodes, i%2 == 0)
		}
	}
}

func steadyUser(i int) string { return fmt.Sprintf("steady%d", i) }
func movingUser(i int) string { return fmt.Sprintf("moving%d", i) }

// final returns who is online after the faults.
func (p *presenceRun) final() map[string]bool {
	online := make(map[string]bool)
	for i := range steadyUsers {
		online[steadyUser(i)] = true
	}
	for i := range presenceUsers {
		online[movingUser(i)] = i%2 == 0
	}
	return online
}

// start starts a device, which uses these nodes. After the faults it stays connected, or leaves for good.
func (p *presenceRun) start(user string, nodes []*node, stays bool) {
	rnd := p.random()
	c := &client{device: p.history.device(user, user, false), steady: len(nodes) == 1}
	p.devices.Go(func() {
		for p.end.Err() == nil {
			ctx := p.connected() // ends when the faults have ended
			calm := p.calm()
			if calm && !stays {
				return
			}
			conn, err := c.connect(ctx, nodes[rnd.IntN(len(nodes))])
			if err != nil {
				p.pause(p.end, 50*time.Millisecond+rnd.upTo(200*time.Millisecond))
				continue
			}
			p.connects.Add(1)
			if c.steady {
				c.read(p.end, conn)
			} else if calm || rnd.IntN(8) == 0 {
				c.read(ctx, conn)
			} else {
				visit, leave := context.WithTimeout(ctx, 50*time.Millisecond+rnd.upTo(3*time.Second))
				c.read(visit, conn) // and ends the connection without a close frame
				leave()
			}
			conn.CloseNow()
			if !p.calm() && !c.steady && rnd.IntN(2) == 0 {
				p.pause(ctx, rnd.upTo(2*presenceGrace)) // away, perhaps for longer than the grace period
			}
		}
	})
}

// disturb causes each of the faults, and repeats them until the time is over.
func (p *presenceRun) disturb(m *nemesis, kinds []Nemesis, atLeast time.Duration, rnd random) {
	end := time.Now().Add(atLeast)
	for i := 0; p.end.Err() == nil && (i < len(kinds) || time.Now().Before(end)); {
		caused := m.cause(p.end, kinds[i%len(kinds)], rnd, func() time.Duration {
			if i == 0 || i >= len(kinds) && rnd.IntN(2) == 0 {
				return presenceGrace + time.Second // until users are offline because of it
			}
			return 0
		})
		if caused {
			i++
		}
	}
}

// settled waits until the last event of each user is true; nil: until the steady users are online.
func (p *presenceRun) settled(online map[string]bool) error {
	if online == nil {
		online = make(map[string]bool)
		for i := range steadyUsers {
			online[steadyUser(i)] = true
		}
	}
	return until(p.end, presenceSettle, func(context.Context) error { return p.backend.matches(online) })
}

// watch asks a node again and again whether it is ready, and returns a function that ends this and returns the longest
// time for which it was not.
func (p *presenceRun) watch(n *node) func() time.Duration {
	ctx, cancel := context.WithCancel(p.end)
	longest := make(chan time.Duration, 1)
	go func() {
		most, last := time.Duration(0), time.Now()
		for ctx.Err() == nil {
			err := n.isReady(ctx)
			if most = max(most, time.Since(last)); err == nil {
				last = time.Now()
			}
			p.pause(ctx, 100*time.Millisecond)
		}
		longest <- most
	}()
	return func() time.Duration {
		cancel()
		return <-longest
	}
}

// ask compares the answers of all nodes to POST /v1/presence.
func (p *presenceRun) ask(online map[string]bool) error {
	names := make([]string, 0, len(online))
	for user := range online {
		names = append(names, user)
	}
	slices.Sort(names)
	body := []byte(`{"users":["` + strings.Join(names, `","`) + `"]}`)
	for _, n := range p.all.nodes {
		err := until(p.end, calmTime, func(ctx context.Context) error {
			var answer struct {
				Complete bool
				Users    []struct {
					User   string
					Online bool
				}
			}
			if err := n.call(ctx, "POST", "/v1/presence", body, &answer); err != nil {
				return err
			}
			if !answer.Complete || len(answer.Users) != len(names) {
				return fmt.Errorf("%s answers for %d users, complete %v", n.name, len(answer.Users), answer.Complete)
			}
			for i, u := range answer.Users {
				if u.User != names[i] || u.Online != online[u.User] {
					return fmt.Errorf("%s answers that %s is online: %v", n.name, u.User, u.Online)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
