package allnodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/node"
)

// Process is this process. It is an interface, not functions, because a linker leaves out methods of
// an interface that are not called: a program that asks nothing links no JSON for it.
type Process interface {
	// Execute executes a command of this process on its sessions.
	Execute(*node.Command) node.Reply
	// Both calls here for this process and, during a handover, has the other one execute a
	// command. It returns both replies together.
	Both(here func() node.Reply, command func() *node.Command) node.Reply
	// Panicked logs and counts a panic that was recovered.
	Panicked(where string, v any)
	// Wall returns the time of day.
	Wall() time.Time
}

// Config is what Nodes need.
type Config struct {
	Process Process
	// Cluster, guarded against panics; nil: this process is alone.
	Cluster node.Cluster
	Logger  *slog.Logger
}

// Nodes are all nodes of a cluster, or this one alone.
type Nodes struct{ cfg Config }

// New returns the nodes of a cluster.
func New(cfg Config) *Nodes { return &Nodes{cfg} }

// text is the kind of a payload that is JSON.
const text = ws.OpText

// Errors of Nodes, which package server documents.
var (
	ErrPage         = errors.New("server: invalid request")
	ErrSessionID    = errors.New("server: malformed ID of a session")
	ErrTooManyUsers = errors.New("server: too many users")
	ErrNoReceipt    = errors.New("server: no such receipt")
	ErrNoPaced      = errors.New("server: no such paced broadcast")
	ErrNoClose      = errors.New("server: no such paced close")
	ErrNoNode       = errors.New("server: no node has this name")
	ErrManyTraces   = errors.New("server: too many traces are running")
)

// Do does something on this node, and has the other nodes that hold the
// target do it at the same time. It returns the sum of the counts. An error says
// that nothing was done anywhere.
func (ns *Nodes) Do(ctx context.Context, t node.Target, c *node.Command, local func() int) (int, node.Answer, error) {
	cl := ns.cfg.Cluster
	if cl == nil {
		return local(), node.Answer{}, nil
	}
	if err := cl.Check(c); err != nil {
		return 0, node.Answer{}, err
	}
	if !cl.Shared(t) {
		// Nodes that this one has not heard of yet get the command all the same;
		// none answers.
		answer := ns.ask(ctx, t, c)
		n := local()
		return n + node.Count(answer), answer, nil
	}
	there := make(chan node.Answer, 1)
	go func() { there <- ns.ask(ctx, t, c) }()
	n := local()
	answer := <-there
	return n + node.Count(answer), answer, nil
}

// Count has a command executed by the nodes that hold a target, and counts the sessions.
func (ns *Nodes) Count(ctx context.Context, t node.Target, c *node.Command) (node.Delivery, error) {
	n, answer, err := ns.Do(ctx, t, c, func() int { return ns.here(c).Count })
	return node.Delivery{Receivers: n, Coverage: answer.Coverage}, err
}

// here executes a command on the sessions of this process and, during a handover, on those
// of the other one. The command is one of this process, and was checked.
func (ns *Nodes) here(c *node.Command) node.Reply {
	return ns.cfg.Process.Both(func() node.Reply { return ns.cfg.Process.Execute(c) }, func() *node.Command { return c })
}

// coverage returns that of an answer, or of the error with which Do has asked no node. A cluster
// that is not ready may lack nodes that this one has not heard of.
func (ns *Nodes) coverage(answer node.Answer, err error) node.Coverage {
	c := answer.Coverage
	if err != nil {
		c.Unreachable = err
	}
	if c.Unreachable == nil && ns.cfg.Cluster != nil {
		c.Unreachable = ns.cfg.Cluster.Ready()
	}
	return c
}

// ask is Cluster.Ask for a command that Check accepts. After a panic, in the evaluation of
// the answer, the other nodes count as unreachable.
func (ns *Nodes) ask(ctx context.Context, t node.Target, c *node.Command) (answer node.Answer) {
	defer func() {
		if v := recover(); v != nil {
			ns.cfg.Process.Panicked("answer of the cluster", v)
			answer = node.Answer{}
			answer.Unreachable = fmt.Errorf("%w: panic in the answer of the cluster: %v", node.ErrUnreachable, v)
		}
	}()
	answer, err := ns.cfg.Cluster.Ask(ctx, t, c)
	answer.Unreachable = err
	for _, r := range answer.Replies {
		if r.Error != "" && r.Error != node.TooManyTopics {
			answer.Missing++
			if r.Node != "" {
				answer.MissingNodes = append(answer.MissingNodes, r.Node)
			}
		}
	}
	answer.Coverage = node.Tidy(answer.Coverage)
	return answer
}
