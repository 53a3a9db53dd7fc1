package fault

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// stage describes a nemesis that has servers of its own: what it needs, and its functions.
type stage struct {
	shape shape // with NATS servers, or with an embedded store
	// prepare is called before there are users; nil: nothing to do.
	prepare func(*trial) error
	// round causes the fault once. Its error says what a server did wrong.
	round func(*trial) error
	// padding is the greatest length of what is added to some messages, in bytes.
	padding int
	steady  bool // the first user stays connected
}

// trial is the run of a nemesis with servers of its own.
type trial struct {
	*world
	ctx    context.Context
	tell   func(format string, args ...any)
	rnd    random
	store  string // data directory of the node with an embedded store
	number int    // of the round, from 0
	probes int
	counts map[string]int
	links  *answering // for the nemesis of that name
}

const (
	trialUsers = 15
	trialPace  = 100 * time.Millisecond
	// betweenRounds lets messages be stored, and read.
	betweenRounds = 500 * time.Millisecond
)

// trial runs a nemesis with servers of its own.
func (r *run) trial(ctx context.Context, dir string, n Nemesis) (*Result, error) {
	t := &trial{ctx: ctx, store: filepath.Join(dir, "data"), counts: make(map[string]int)}
	t.tell = func(format string, args ...any) { r.tell("%s: %s", n.Name, fmt.Sprintf(format, args...)) }
	s := n.stage.shape
	s.programs, s.direct = r.programs, true
	s.args = append([]string{"--inbox-messages", "1000000", "--inbox-bytes", "1GiB", "--inbox-disk", "1GiB", "--inbox-window", "10m"}, s.args...)
	if s.nats == 0 {
		s.args = append(s.args, "--data-dir", t.store)
	}
	c, err := newCluster(ctx, dir, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	t.world = newWorld(ctx, c, r.Seed)
	defer t.world.close()
	t.pace, t.away, t.steady, t.padding = trialPace, true, n.stage.steady, n.stage.padding
	t.rnd = t.random()
	if n.stage.prepare != nil {
		if err := n.stage.prepare(t); err != nil {
			return nil, err
		}
	}
	defer t.links.close()
	if _, err := t.probe(t.nodes[0]); err != nil {
		return nil, err
	}
	t.populate(trialUsers)
	failure := ""
	for end := time.Now().Add(r.Each); ctx.Err() == nil && failure == "" && (t.number == 0 || time.Now().Before(end)); t.number++ {
		if err := t.gather(); err != nil {
			return nil, err
		}
		if err := n.stage.round(t); err != nil {
			failure = fmt.Sprintf("fault: round %d: %v", t.number+1, err)
			t.tell("%s", failure)
		}
		t.counts[n.Name]++
	}
	result, err := t.judge(ctx, t.tell)
	if err != nil && failure != "" {
		return nil, fmt.Errorf("%s; %w", failure, err)
	}
	if err == nil {
		result.Faults, result.Failure = t.counts, failure
		t.tell("%d rounds, %d accepted, announced %v", t.number, result.Accepted, result.Announced)
	}
	return result, err
}

// gather waits until some messages more are stored.
func (t *trial) gather() error {
	before := t.history.stored()
	t.pause(t.end, betweenRounds)
	err := until(t.ctx, 30*time.Second, func(context.Context) error {
		if n := t.history.stored() - before; n < 3*trialUsers {
			return fmt.Errorf("fault: %d messages were accepted", n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, t.nodes[0].tail())
	}
	return nil
}

// stored returns how many pushes were accepted.
func (h *history) stored() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.users {
		n += len(p.accepted)
	}
	return n
}

// prober is a user without devices, whose messages are not part of the history.
const prober = "prober"

// probe stores a message through a node, and returns the epoch.
func (t *trial) probe(n *node) (epoch string, err error) {
	t.probes++
	id := fmt.Sprint(t.probes)
	err = until(t.ctx, 20*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		s, err := n.push(ctx, prober, id, "probe")
		epoch = s.Epoch
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s does not store messages: %w\n%s", n.name, err, n.tail())
	}
	if epoch == "" {
		return "", fmt.Errorf("%s does not say in which epoch it stored a message", n.name)
	}
	t.history.saw(epoch)
	return epoch, nil
}
