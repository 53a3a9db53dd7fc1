package allnodes

import (
	"context"

	"fanfare/server/node"
)

// StartPaced has all nodes start a paced broadcast. start does so in this process, whose error is
// returned before another node is asked.
func (ns *Nodes) StartPaced(ctx context.Context, c *node.Command, start func() (node.PacedBroadcast, error)) (node.PacedDelivery, error) {
	if ns.cfg.Cluster != nil {
		if err := ns.cfg.Cluster.Check(c); err != nil {
			return node.PacedDelivery{}, err
		}
	}
	b, err := start()
	if err != nil || ns.cfg.Cluster == nil {
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
		local = ns.cfg.Process.Execute(c).Paced
		return 0
	})
	l.Coverage = ns.coverage(answer, err)
	for _, r := range answer.Replies {
		local = append(local, r.Paced...)
	}
	l.Broadcasts = node.MergePacedLists(local, func(b *node.PacedBroadcast) *node.PacedBroadcast { return b })
	return l
}
