package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"
)

// nemesis causes faults in a cluster: one after another, or several at a time.
type nemesis struct {
	*world
	tell func(format string, args ...any)
	disk *disk // of the last NATS server; nil: it shares that of the test

	mu     sync.Mutex
	counts map[string]int   // guarded by mu
	down   map[*process]int // how many faults keep a process down; guarded by mu
}

// cluster runs the nemeses that disturb a cluster: one on NATS and one on the nodes, so that a majority of the NATS
// servers runs most of the time and accepts pushes.
func (r *run) cluster(ctx context.Context, dir string, nemeses []Nemesis) (*Result, error) {
	const replicas = 3
	var small *disk
	defer func() { small.unmount() }()
	c, err := newCluster(ctx, dir, shape{
		programs: r.programs, nats: replicas, nodes: r.Nodes,
		args: []string{"--ping-interval", "2s", "--ping-timeout", "2s", "--inbox-messages", "1000000", "--inbox-bytes", "1GiB",
			"--inbox-disk", "1GiB", "--inbox-window", "10m"},
		disk: func(path string, i int) (_ string, err error) {
			if i < replicas-1 {
				return path, nil
			}
			if small, err = mountDisk(path, 256<<20); err != nil {
				r.tell("%v: disks are not filled", err)
			}
			return path, nil
		},
	})
	if err != nil {
		return nil, err
	}
	defer c.close()
	r.tell("%d NATS servers and %d nodes are ready, in %s; seed %d", replicas, r.Nodes, c.net.what(), r.Seed)
	w := newWorld(ctx, c, r.Seed)
	defer w.close()
	w.pace = r.Pace
	w.populate(r.Users)
	m := &nemesis{world: w, tell: r.tell, disk: small, counts: make(map[string]int), down: make(map[*process]int)}
	bad, cancel := context.WithTimeout(w.end, r.Duration)
	defer cancel()
	var running sync.WaitGroup
	for _, nats := range []bool{true, false} {
		kinds := disturbing(nemeses, nats)
		if len(kinds) == 0 {
			continue
		}
		rnd := w.random()
		running.Go(func() { m.run(bad, kinds, rnd) })
	}
	running.Wait()
	result, err := w.judge(ctx, r.tell)
	if err == nil {
		result.Faults = m.total()
	}
	return result, err
}

// run causes faults until ctx ends, and ends all of them.
func (m *nemesis) run(ctx context.Context, kinds []Nemesis, rnd random) {
	var bag []Nemesis // every kind is used before one is repeated
	for ctx.Err() == nil {
		if len(bag) == 0 {
			bag = slices.Clone(kinds)
			rnd.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		e := bag[0]
		bag = bag[1:]
		caused := m.cause(ctx, e, rnd, func() (more time.Duration) {
			if e.long {
				more = rnd.upTo(3 * time.Second)
				if rnd.IntN(4) == 0 {
					more += 10 * time.Second // until all processes have detected it
				}
			}
			return more
		})
		if caused {
			m.pause(ctx, rnd.upTo(time.Second))
		}
	}
}

// cause causes a fault, and ends it after a random time and what more returns. It reports false, after a short pause, if
// there is nothing to disturb: other faults may have killed every process.
func (m *nemesis) cause(ctx context.Context, e Nemesis, rnd random, more func() time.Duration) bool {
	m.revive()
	what, undo := e.disturb(m, rnd)
	if undo == nil {
		m.pause(ctx, 20*time.Millisecond) // it may be the only one
		return false
	}
	m.mu.Lock()
	m.counts[e.Name]++
	m.mu.Unlock()
	hold := 200*time.Millisecond + rnd.upTo(2*time.Second)
	hold += more()
	m.tell("%s: %s for %v", e.Name, what, hold.Round(100*time.Millisecond))
	m.pause(ctx, hold)
	undo()
	return true
}

func (m *nemesis) total() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// revive starts nodes that exited: a node that is started while NATS is down exits.
func (m *nemesis) revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.nodes {
		if m.down[n.process] == 0 && !n.running() {
			n.start()
		}
	}
}

// kill kills processes, and starts them again unless another fault keeps them down.
func (m *nemesis) kill(all ...*process) (string, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	what := ""
	for _, p := range all {
		m.down[p]++
		p.kill()
		what += p.name + " "
	}
	return what[:len(what)-1], func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range all {
			if m.down[p]--; m.down[p] == 0 && !p.running() {
				p.start()
			}
		}
	}
}

func killNode(m *nemesis, rnd random) (string, func()) {
	return m.kill(m.nodes[rnd.IntN(len(m.nodes))].process)
}

func killNATS(m *nemesis, rnd random) (string, func()) {
	return m.kill(m.nats[rnd.IntN(len(m.nats))])
}

func killAllNATS(m *nemesis, _ random) (string, func()) { return m.kill(m.nats...) }

func freezeNode(m *nemesis, rnd random) (string, func()) {
	return freeze(m.nodes[rnd.IntN(len(m.nodes))].process)
}

func freezeNATS(m *nemesis, rnd random) (string, func()) {
	return freeze(m.nats[rnd.IntN(len(m.nats))])
}

func freeze(p *process) (string, func()) {
	if !p.signal(syscall.SIGSTOP) {
		return "", nil
	}
	return p.name, func() { p.signal(syscall.SIGCONT) }
}

func cutNode(m *nemesis, rnd random) (string, func()) {
	n := m.nodes[rnd.IntN(len(m.nodes))]
	var from []*place
	for _, p := range m.nats {
		from = append(from, p.at)
	}
	if rnd.IntN(2) == 0 { // from one of them only, perhaps the one in use
		i := rnd.IntN(len(from))
		from = from[i : i+1]
	}
	return m.cut(n.at, false, from...)
}

func cutNATS(m *nemesis, rnd random) (string, func()) {
	i := rnd.IntN(len(m.nats))
	var peers []*place
	for j, p := range m.nats {
		if j != i {
			peers = append(peers, p.at)
		}
	}
	return m.cut(m.nats[i].at, false, peers...)
}

func cutOneWay(m *nemesis, rnd random) (string, func()) {
	i := rnd.IntN(len(m.nats))
	return m.cut(m.nats[i].at, true, m.nats[(i+1)%len(m.nats)].at)
}

func cutClients(m *nemesis, rnd random) (string, func()) {
	return m.cut(m.nodes[rnd.IntN(len(m.nodes))].at, false, m.net.home())
}

func (m *nemesis) cut(a *place, oneWay bool, others ...*place) (string, func()) {
	what := a.name + " from"
	for _, b := range others {
		what += " " + b.name
		if err := m.net.cut(a, b, oneWay); err != nil {
			m.tell("%v", err)
			return "", nil
		}
	}
	return what, func() {
		for _, b := range others {
			m.net.heal(a, b)
		}
	}
}

// fillDisk fills the disk of the last NATS server. JetStream stops then, and does
// not resume when there is space again, so the server is restarted, as an operator
// would do.
func fillDisk(m *nemesis, _ random) (string, func()) {
	p := m.nats[len(m.nats)-1]
	if m.disk == nil || m.disk.fill() != nil {
		return "", nil
	}
	return fmt.Sprintf("%s, %d bytes", p.name, m.disk.size), func() {
		m.disk.free()
		_, again := m.kill(p)
		again()
	}
}
