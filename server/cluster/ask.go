package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"fanfare/server"
)

// maxWait bounds Ask even if every node keeps reporting that the command is in progress.
const maxWait = 30 * time.Second

// asks holds the calls of Ask that wait for replies.
type asks struct {
	mu   sync.Mutex
	last uint64          // guarded by mu
	open map[uint64]*ask // by number; guarded by mu
}

// ask is a call of Ask that waits for replies.
type ask struct {
	number uint64
	// arrived has room for one signal; the state below says what happened.
	arrived chan struct{}

	mu      sync.Mutex
	nodes   map[nodeID]awaited  // that did not reply; guarded by mu
	replied map[nodeID]struct{} // guarded by mu
	replies []server.Reply      // guarded by mu
}

// awaited is a node that has not replied.
type awaited struct {
	name string
	sign time.Time // the last sign of life
}

func (as *asks) init() { as.open = make(map[uint64]*ask) }

func (as *asks) begin(nodes []named, now time.Time) *ask {
	a := &ask{arrived: make(chan struct{}, 1), nodes: make(map[nodeID]awaited, len(nodes)), replied: make(map[nodeID]struct{}, len(nodes))}
	for _, n := range nodes {
		a.nodes[n.id] = awaited{n.name, now}
	}
	as.mu.Lock()
	as.last++
	a.number = as.last
	as.open[a.number] = a
	as.mu.Unlock()
	return a
}

func (as *asks) end(a *ask) {
	as.mu.Lock()
	delete(as.open, a.number)
	as.mu.Unlock()
}

func (as *asks) find(number uint64) *ask {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.open[number]
}

// reply records the reply of a node, which need not be one that was known to hold the
// target. A second reply of a node is ignored.
func (a *ask) reply(from nodeID, r server.Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, again := a.replied[from]; again {
		return
	}
	a.replied[from] = struct{}{}
	delete(a.nodes, from)
	a.replies = append(a.replies, r)
	kick(a.arrived)
}

// working records that a node will reply later.
func (a *ask) working(from nodeID, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.nodes[from]; ok {
		n.sign = now
		a.nodes[from] = n
	}
}

// next returns how long to wait: until every node has been silent for timeout. done
// reports that there is no node left to wait for.
func (a *ask) next(now time.Time, timeout time.Duration) (wait time.Duration, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	done = true
	for _, n := range a.nodes {
		if left := timeout - now.Sub(n.sign); left > 0 {
			done = false
			wait = max(wait, left)
		}
	}
	return wait, done
}

func (a *ask) answer() server.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := server.Answer{Replies: a.replies}
	for _, n := range a.nodes {
		answer.Missing++
		answer.MissingNodes = append(answer.MissingNodes, n.name)
	}
	slices.Sort(answer.MissingNodes)
	return answer
}

// Ask sends a command to the other nodes that hold a target and collects their
// replies. It returns when every node that is known to hold it has replied, or has
// been silent for Config.Timeout: a node that needs longer sends signs of life. Nodes
// of which this one has not heard yet get the command, too; their replies count if they
// arrive in time.
func (c *Cluster) Ask(ctx context.Context, to server.Target, cmd *server.Command) (server.Answer, error) {
	valid := *cmd
	valid.Reason = cut(cmd.Reason, maxReason)
	if err := checkCommand(&valid); err != nil {
		return server.Answer{}, fmt.Errorf("cluster: %w", err)
	}
	t, now := targetOf(to), c.now()
	nodes := c.peers.holding(t, now)
	var a *ask
	var number uint64 // 0: no reply is wanted
	if len(nodes) > 0 {
		a = c.asks.begin(nodes, now)
		number = a.number
		defer c.asks.end(a)
	} else if isQuestion(cmd.Verb) {
		if err := c.conn.ready(); err != nil {
			return server.Answer{}, fmt.Errorf("cluster: %w", err)
		}
		return server.Answer{}, nil
	}
	b := make([]byte, 0, headerSize+64+len(cmd.User)+len(cmd.Topic)+len(cmd.Payload))
	o := outgoing{subject: t.subject(),
		body: appendCommand(appendNumbers(appendHeader(b, kindCommand, c.id), number), &valid)}
	o.at = c.now() // not now: to encode 32 MiB takes a while
	if cmd.Verb == server.VerbStored {
		o.stored = &stored{server.Target{User: cmd.User, Topic: cmd.Topic}, cmd.Epoch, cmd.Offset, cmd.Prev}
	}
	if err := c.dispatch(o); err != nil {
		c.count.missing.Add(int64(len(nodes)))
		answer := server.Answer{}
		if a != nil {
			answer = a.answer()
		}
		return answer, fmt.Errorf("cluster: %w", err)
	}
	c.count.asked.Add(1)
	if a == nil {
		return server.Answer{}, nil
	}
	c.await(ctx, a)
	answer := a.answer()
	c.count.missing.Add(int64(answer.Missing))
	if ctx.Err() == nil {
		for _, name := range answer.MissingNodes {
			c.warn("node did not answer", name, "node", name, "timeout", c.cfg.Timeout)
		}
	}
	for _, r := range answer.Replies {
		if r.Error != "" {
			c.warn("command failed on another node", r.Node+" "+r.Error, "node", r.Node, "verb", cmd.Verb, "err", r.Error)
		}
	}
	return answer, nil
}

// isQuestion reports whether a command does nothing where no reply is wanted.
func isQuestion(v server.Verb) bool {
	switch v {
	case server.VerbSessions, server.VerbSubscribers, server.VerbPacedList, server.VerbPresence, server.VerbTopicUsers, server.VerbDescribe, server.VerbReceipt, server.VerbInquire:
		return true
	}
	return false
}

func (c *Cluster) await(ctx context.Context, a *ask) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	timer := time.NewTimer(c.cfg.Timeout)
	defer timer.Stop()
	for {
		wait, done := a.next(c.now(), c.cfg.Timeout)
		if done {
			return
		}
		timer.Reset(wait)
		select {
		case <-a.arrived:
		case <-timer.C:
		case <-ctx.Done():
			return
		case <-c.quit:
			return
		}
	}
}
