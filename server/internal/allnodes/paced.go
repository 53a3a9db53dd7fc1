package allnodes

import (
	"context"
	"errors"

	"fanfare/server/internal/operate"
	"fanfare/server/node"
)

// StartPaced has all nodes start a paced broadcast. start does so in this process, whose error is
// returned before another node is asked.
func (ns *Nodes) StartPaced(ctx context.Context, c *node.Command, start func() (node.PacedBroadcast, error)) (node.PacedDelivery, error) {
	if ns.Cluster != nil {
		if err := ns.Cluster.Check(c); err != nil {
			return node.PacedDelivery{}, err
		}
	}
	b, err := start()
	if err != nil || ns.Cluster == nil {
		return node.PacedDelivery{PacedBroadcast: b}, err
	}
	answer := ns.ask(ctx, node.Target{}, c)
	for _, r := range answer.Replies {
		for _, other := range r.Paced {
			node.MergePaced(&b, other)
		}
	}
	return node.PacedDelivery{PacedBroadcast: b, Coverage: answer.Coverage}, nil
}

// ListPaced lists the paced broadcasts that are under way, and the last that have ended.
func (ns *Nodes) ListPaced(ctx context.Context) node.PacedList {
	return ns.paced(ctx, &node.Command{Verb: node.VerbPacedList})
}

// OnePaced has the command VerbPacedList or VerbPacedCancel executed for one paced broadcast. The
// error is ErrNoPaced.
func (ns *Nodes) OnePaced(ctx context.Context, c *node.Command) (node.PacedDelivery, error) {
	if node.CheckPacedID(c.ID) != nil { // no node has it
		return node.PacedDelivery{}, ErrNoPaced
	}
	list := ns.paced(ctx, c)
	if len(list.Broadcasts) == 0 {
		return node.PacedDelivery{Coverage: list.Coverage}, ErrNoPaced
	}
	return node.PacedDelivery{PacedBroadcast: list.Broadcasts[0], Coverage: list.Coverage}, nil
}

func (ns *Nodes) paced(ctx context.Context, c *node.Command) (l node.PacedList) {
	var local []node.PacedBroadcast
	_, answer, err := ns.Do(ctx, node.Target{}, c, func() int {
		local = ns.Execute(c).Paced
		return 0
	})
	l.Coverage = answer.Coverage
	if err != nil {
		l.Unreachable = err
	}
	if l.Unreachable == nil && ns.Cluster != nil {
		l.Unreachable = ns.Cluster.Ready()
	}
	for _, r := range answer.Replies {
		local = append(local, r.Paced...)
	}
	l.Broadcasts = node.MergePacedLists(local, func(b *node.PacedBroadcast) *node.PacedBroadcast { return b })
	return l
}

// StartClose has all nodes start a paced close with an ID. The error is ErrNoNode if none has the
// name in the order.
func (ns *Nodes) StartClose(ctx context.Context, id string, o node.CloseOrder) (node.ClosingDelivery, error) {
	q := &operate.Question{Kind: operate.Close, ID: id, Over: int64(o.Over), Rate: o.Rate, Code: o.Code, Reason: o.Reason,
		Target: operate.Target{Users: o.Users, Topic: o.Topic, All: o.All, Node: o.Node}}
	if o.Where != nil {
		q.Where = o.Where.String()
	}
	d, err := ns.oneClose(ctx, q)
	if errors.Is(err, ErrNoClose) {
		err = ErrNoNode
	}
	return d, err
}

// ListCloses lists the paced closes that are under way, and the last that have ended.
func (ns *Nodes) ListCloses(ctx context.Context) (node.CloseList, error) {
	answers, c, err := ns.inquire(ctx, node.Target{}, &operate.Question{Kind: operate.Closes})
	return node.CloseList{Closes: operate.MergeCloses(answers), Coverage: c}, err
}

// OneClose asks a question of the kind Closes or CancelClose about one paced close. The error is
// ErrNoClose.
func (ns *Nodes) OneClose(ctx context.Context, k operate.Kind, id string) (node.ClosingDelivery, error) {
	if node.CheckPacedID(id) != nil { // no node has it
		return node.ClosingDelivery{}, ErrNoClose
	}
	return ns.oneClose(ctx, &operate.Question{Kind: k, ID: id})
}

// oneClose asks a question that is answered with one paced close.
func (ns *Nodes) oneClose(ctx context.Context, q *operate.Question) (node.ClosingDelivery, error) {
	answers, c, err := ns.inquire(ctx, node.Target{}, q)
	if err != nil {
		return node.ClosingDelivery{Coverage: c}, err
	}
	all := operate.MergeCloses(answers)
	if len(all) == 0 {
		return node.ClosingDelivery{Coverage: c}, ErrNoClose
	}
	return node.ClosingDelivery{PacedClose: all[0], Coverage: c}, nil
}
