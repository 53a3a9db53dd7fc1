package allnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fanfare/registry"
	"fanfare/server/internal/operate"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
)

// traceInterval is how often the nodes are asked for events.
const traceInterval = 250 * time.Millisecond

// Trace is a trace that runs. It is for one goroutine.
type Trace struct {
	op    *Operator
	order node.TraceOrder
	id    string
	seen  map[string]uint64
	began bool
	last  node.Coverage
}

// Trace starts a trace: from its first Next on, until End, events of the user are kept on all nodes
// that answer. Errors: registry.ErrName, ErrManyTraces.
func (op *Operator) Trace(o node.TraceOrder) (*Trace, error) {
	if err := registry.CheckName(o.User); err != nil {
		return nil, err
	}
	t := &Trace{op: op, order: o, id: trace.NewID(), seen: make(map[string]uint64)}
	if _, err := op.Answer(t.question()); err != nil {
		return nil, fmt.Errorf("%w: %d", ErrManyTraces, trace.MaxTraces)
	}
	return t, nil
}

// Next waits for events, at most for a time, and returns without one when it has passed, when
// other nodes are missing than before, or from the first call. A trace must be called every few
// seconds: without it, nodes end the trace by themselves. The error is ctx.Err() or
// ErrManyTraces.
func (t *Trace) Next(ctx context.Context, wait time.Duration) (node.TraceBatch, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		b, more, err := t.poll(ctx)
		if err != nil {
			return node.TraceBatch{}, err
		}
		changed := !t.began || !sameCoverage(b.Coverage, t.last)
		t.began, t.last = true, b.Coverage
		if len(b.Events) > 0 || changed || more {
			return b, nil
		}
		pause := time.NewTimer(traceInterval)
		select {
		case <-pause.C:
			continue
		case <-over.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		pause.Stop()
		return b, err
	}
}

func (t *Trace) question() *operate.Question {
	return &operate.Question{Kind: operate.Trace, ID: t.id, Payload: t.order.Payload,
		Seen: t.seen, Target: operate.Target{User: t.order.User}}
}

func (t *Trace) poll(ctx context.Context) (b node.TraceBatch, more bool, err error) {
	answers, c, err := t.op.inquire(ctx, node.Target{}, t.question())
	switch {
	case ctx.Err() != nil:
		return b, false, ctx.Err()
	case errors.Is(err, trace.ErrFull): // it was not called for so long that others took its place
		return b, false, fmt.Errorf("%w: %d", ErrManyTraces, trace.MaxTraces)
	case err != nil: // the cluster carries nothing: no node could answer
		return b, false, err
	}
	b.Coverage = c
	for _, a := range answers {
		part := a.Trace
		if part == nil {
			continue
		}
		t.seen[part.Source] = part.Last
		more = more || part.More
		if part.Lost > 0 || part.Forgot {
			lost := node.TraceEvent{Event: node.TraceLost, Node: part.Node, Count: part.Lost, Time: t.op.cfg.Process.Wall().UTC().Round(0)}
			if len(part.Events) > 0 {
				lost.Time = part.Events[0].Time
			}
			b.Events = append(b.Events, lost)
		}
		b.Events = append(b.Events, part.Events...)
	}
	slices.SortStableFunc(b.Events, func(x, y node.TraceEvent) int { return x.Time.Compare(y.Time) })
	return b, more, nil
}

func sameCoverage(a, b node.Coverage) bool {
	return a.Missing == b.Missing && slices.Equal(a.MissingNodes, b.MissingNodes) && (a.Unreachable == nil) == (b.Unreachable == nil)
}

// End ends the trace on all nodes that can be reached; the others end it after a few seconds.
func (t *Trace) End(ctx context.Context) {
	q := &operate.Question{Kind: operate.EndTrace, ID: t.id}
	t.op.Answer(q)
	if t.op.cfg.Cluster != nil {
		t.op.inquire(ctx, node.Target{}, q)
	}
}
