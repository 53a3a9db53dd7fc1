package allnodes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"fanfare/registry"
	"fanfare/server/internal/operate"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
)

// fakeCluster answers each command with replies.
type fakeCluster struct {
	node.Cluster
	replies func(*node.Command) []node.Reply
	err     error // of Ask
	asked   []node.Target
}

func (c *fakeCluster) Check(*node.Command) error { return nil }
func (c *fakeCluster) Shared(node.Target) bool   { return true }
func (c *fakeCluster) Name() string              { return "here" }
func (c *fakeCluster) Ready() error              { return nil }
func (c *fakeCluster) Ask(_ context.Context, t node.Target, cmd *node.Command) (node.Answer, error) {
	c.asked = append(c.asked, t)
	return node.Answer{Replies: c.replies(cmd)}, c.err
}

// fakeProcess executes commands by a function.
type fakeProcess struct {
	execute func(*node.Command) node.Reply
	panics  int
}

func (p *fakeProcess) Execute(c *node.Command) node.Reply                             { return p.execute(c) }
func (p *fakeProcess) Both(here func() node.Reply, _ func() *node.Command) node.Reply { return here() }
func (p *fakeProcess) Wall() time.Time                                                { return time.Now() }
func (p *fakeProcess) Panicked(string, any)                                           { p.panics++ }

func with(cl *fakeCluster, execute func(*node.Command) node.Reply) *Nodes {
	cfg := Config{Process: &fakeProcess{execute: execute}, Logger: slog.New(slog.DiscardHandler)}
	if cl != nil {
		cfg.Cluster = cl
	}
	return New(cfg)
}

// The replies of all nodes add up, and a node that cannot do it is missing.
func TestPresence(t *testing.T) {
	cl := &fakeCluster{replies: func(*node.Command) []node.Reply {
		return []node.Reply{{Node: "b", Count: 2, Users: []node.UserSessions{{User: "alice", Sessions: 1}, {User: "bob", Sessions: 1}}}, {Node: "c", Error: "cannot"}}
	}}
	ns := with(cl, func(*node.Command) node.Reply {
		return node.Reply{Users: []node.UserSessions{{User: "alice", Sessions: 2}}}
	})
	l, err := ns.Presence(t.Context(), []string{"alice", "bob"})
	if want := []node.UserSessions{{User: "alice", Sessions: 3}, {User: "bob", Sessions: 1}}; err != nil || !slices.Equal(l.Users, want) {
		t.Errorf("%v, %v, want %v", l.Users, err, want)
	}
	if l.Missing != 1 || !slices.Equal(l.MissingNodes, []string{"c"}) {
		t.Errorf("coverage %+v, want c missing", l.Coverage)
	}
	if _, err := ns.Presence(t.Context(), make([]string, node.MaxPresence+1)); !errors.Is(err, ErrTooManyUsers) {
		t.Errorf("too many users: %v", err)
	}
	if _, err := ns.Presence(t.Context(), []string{""}); !errors.Is(err, registry.ErrName) {
		t.Errorf("a name that is empty: %v", err)
	}
	if len(cl.asked) != 1 {
		t.Errorf("the cluster was asked %d times, want once", len(cl.asked))
	}
}

// A page has the first names of all nodes together, and says that more follow.
func TestPage(t *testing.T) {
	cl := &fakeCluster{replies: func(c *node.Command) []node.Reply {
		a := operate.Answer{Users: []node.UserSessions{{User: "a", Sessions: 1}, {User: "c", Sessions: 1}, {User: "e", Sessions: 1}}}
		b, _ := a.Encode()
		return []node.Reply{{Node: "b", Data: [][]byte{b, []byte("{")}}}
	}}
	ns := &Operator{with(cl, nil), func(q *operate.Question) (operate.Answer, error) {
		if q.Limit != 3 {
			t.Errorf("a node is asked for %d names, want one more than the page has", q.Limit)
		}
		return operate.Answer{Users: []node.UserSessions{{User: "b", Sessions: 1}}}, nil
	}}
	l, err := ns.Users(t.Context(), node.PageQuery{Limit: 2})
	if err != nil || len(l.Users) != 2 || l.Users[0].User != "a" || l.Users[1].User != "b" || !l.More {
		t.Errorf("%+v, %v, want a and b, and more", l, err)
	}
	if !slices.Equal(l.MissingNodes, []string{"b"}) {
		t.Errorf("missing %v, want b, whose second answer is malformed", l.MissingNodes)
	}
	if _, err := ns.Users(t.Context(), node.PageQuery{Limit: 2, After: "\xff"}); !errors.Is(err, ErrPage) {
		t.Errorf("a malformed name: %v, want ErrPage", err)
	}
}

// An error of this process keeps its identity, and one of the cluster says why others were not
// reached.
func TestErrors(t *testing.T) {
	op := &Operator{with(nil, nil), func(*operate.Question) (operate.Answer, error) { return operate.Answer{}, trace.ErrFull }}
	if _, err := op.Trace(node.TraceOrder{User: "alice"}); !errors.Is(err, ErrManyTraces) {
		t.Errorf("trace: %v, want ErrManyTraces", err)
	}
	down := &fakeCluster{err: node.ErrUnreachable, replies: func(*node.Command) []node.Reply { return nil }}
	ns := with(down, func(*node.Command) node.Reply { return node.Reply{Count: 1} })
	if d, err := ns.Count(t.Context(), node.Target{User: "alice"}, &node.Command{}); err != nil || d.Receivers != 1 || !errors.Is(d.Unreachable, node.ErrUnreachable) {
		t.Errorf("%+v, %v, want one receiver and ErrUnreachable", d, err)
	}
	if _, err := ns.OnePaced(t.Context(), &node.Command{ID: "x"}); !errors.Is(err, ErrNoPaced) || len(down.asked) != 1 {
		t.Errorf("malformed ID: %v, asked %d times, want ErrNoPaced without asking", err, len(down.asked))
	}
}

// A panic in the answer of the cluster makes the other nodes unreachable.
func TestPanic(t *testing.T) {
	cl := &fakeCluster{replies: func(*node.Command) []node.Reply { panic("no") }}
	ns := with(cl, func(*node.Command) node.Reply { return node.Reply{Count: 1} })
	if d, err := ns.Count(t.Context(), node.Target{}, &node.Command{}); err != nil || d.Receivers != 1 || d.Unreachable == nil || ns.cfg.Process.(*fakeProcess).panics != 1 {
		t.Errorf("%+v, %v, %d panics noted", d, err, ns.cfg.Process.(*fakeProcess).panics)
	}
}
