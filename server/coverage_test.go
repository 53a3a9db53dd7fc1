package server

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"fanfare/server/node"
)

// The names of missing nodes are sorted, each once, and bounded; their number counts all.
func TestMergeCoverage(t *testing.T) {
	gone := errors.New("gone")
	var many []string
	for i := range MaxMissingNodes + 3 {
		many = append(many, fmt.Sprintf("n%02d", i))
	}
	for _, test := range []struct {
		name        string
		a, b        Coverage
		missing     int
		nodes       []string
		unreachable error
	}{
		{name: "both complete"},
		{name: "one is", b: Coverage{Missing: 1, MissingNodes: []string{"b"}}, missing: 1, nodes: []string{"b"}},
		{name: "same node", a: Coverage{Missing: 1, MissingNodes: []string{"b"}}, b: Coverage{Missing: 1, MissingNodes: []string{"b"}}, missing: 1, nodes: []string{"b"}},
		{name: "different nodes", a: Coverage{Missing: 1, MissingNodes: []string{"c"}}, b: Coverage{Missing: 1, MissingNodes: []string{"b"}}, missing: 2, nodes: []string{"b", "c"}},
		{name: "two of one name", a: Coverage{Missing: 2, MissingNodes: []string{"b", "b"}}, missing: 2, nodes: []string{"b"}},
		{name: "no names", a: Coverage{Missing: 2}, b: Coverage{Missing: 3}, missing: 3},
		{name: "too many names", a: Coverage{Missing: len(many), MissingNodes: many}, missing: len(many), nodes: many[:MaxMissingNodes]},
		{name: "first unreachable", a: Coverage{Unreachable: gone}, unreachable: gone},
		{name: "second unreachable", b: Coverage{Unreachable: gone, Missing: 1}, missing: 1, unreachable: gone},
	} {
		before := slices.Clone(test.a.MissingNodes)
		got := test.a.Merge(test.b)
		if got.Missing != test.missing || !slices.Equal(got.MissingNodes, test.nodes) || got.Unreachable != test.unreachable {
			t.Errorf("%s: got %+v", test.name, got)
		}
		if !slices.Equal(test.a.MissingNodes, before) {
			t.Errorf("%s: the argument was changed", test.name)
		}
	}
}

// A node that answers that it could not do it is missing, too. Its name is in what every
// call that asks other nodes returns.
func TestMissingNodes(t *testing.T) {
	cluster := newFakeClusters(3)
	srv := start(t, Config{Cluster: cluster[0]})
	cluster[1].node = failingNode{"no"}
	cluster[2].node = failingNode{node.TooManyTopics} // an answer like any other
	ctx, m := t.Context(), NewMessage(Text, []byte("m"))
	of := func(d Delivery, err error) Coverage { return d.Coverage }
	calls := map[string]func() Coverage{
		"Push":            func() Coverage { return of(srv.Push(ctx, "u", m)) },
		"Publish":         func() Coverage { return of(srv.Publish(ctx, "t", m)) },
		"Broadcast":       func() Coverage { return of(srv.Broadcast(ctx, m)) },
		"PushMany":        func() Coverage { return of(srv.PushMany(ctx, []string{"u"}, nil, m)) },
		"Disconnect":      func() Coverage { return of(srv.Disconnect(ctx, "u", 4000, "")) },
		"Subscribers":     func() Coverage { return of(srv.Subscribers(ctx, "t")) },
		"SubscribeUser":   func() Coverage { return of(srv.SubscribeUser(ctx, "u", "t")) },
		"UnsubscribeUser": func() Coverage { return of(srv.UnsubscribeUser(ctx, "u", "t")) },
		"Sessions":        func() Coverage { return srv.Sessions(ctx, "u").Coverage },
		"Topics": func() Coverage {
			l, _ := srv.Topics(ctx, PageQuery{Prefix: "t", Limit: 1})
			return l.Coverage
		},
		"SubscribersEverywhere":   func() Coverage { return of(srv.SubscribersEverywhere(ctx, "t")) },
		"TopicSessionsEverywhere": func() Coverage { return srv.TopicSessionsEverywhere(ctx, "t").Coverage },
		"TopicSessions":           func() Coverage { return srv.TopicSessions(ctx, "t").Coverage },
	}
	for name, call := range calls {
		for _, silent := range [][]string{nil, {"z"}, {"z", "a"}} {
			cluster[0].set(func(f *fakeCluster) { f.missing, f.missingNodes = len(silent), silent })
			got := call()
			want := append([]string{"node/1"}, silent...)
			slices.Sort(want)
			if got.Missing != len(want) || !slices.Equal(got.MissingNodes, want) || got.Complete() {
				t.Errorf("%s: got %+v, want %q", name, got, want)
			}
		}
	}
}

// failingNode answers every command with an error.
type failingNode struct{ err string }

func (n failingNode) Serve(*Command) Reply { return Reply{Error: n.err} }
func (failingNode) Missed()                {}
