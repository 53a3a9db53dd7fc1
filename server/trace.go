package server

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

// This file follows what happens to one user, on all nodes. What is reported is in tracing.go.

// TraceEvent is something that has happened to the user of a trace.
type TraceEvent = node.TraceEvent

const (
	// MaxTraces bounds the traces that run at a time, on all nodes together.
	MaxTraces = trace.MaxTraces
	// MaxTracePayload bounds the payload of a TraceEvent, in bytes.
	MaxTracePayload = trace.MaxPayload

	// traceInterval is how often the nodes are asked for events.
	traceInterval = 250 * time.Millisecond
)

// ErrManyTraces: MaxTraces traces are running.
var ErrManyTraces = errors.New("server: too many traces are running")

// TraceOrder says what a trace reports.
type TraceOrder struct {
	User    string
	Payload bool // TraceEvents have the payloads of messages
}

// TraceBatch is what has happened since the batch before, in the order of the nodes' clocks.
type TraceBatch struct {
	Events []TraceEvent
	Coverage
}

// Trace is a trace that runs. It is for one goroutine.
type Trace struct {
	srv   *Server
	order TraceOrder
	id    string
	seen  map[string]uint64
	began bool
	last  Coverage
}

// Trace starts a trace: from its first Next on, until End, events of the user are kept on all nodes
// that answer. Errors: registry.ErrName, ErrManyTraces.
func (srv *Server) Trace(o TraceOrder) (*Trace, error) {
	if err := registry.CheckName(o.User); err != nil {
		return nil, err
	}
	t := &Trace{srv: srv, order: o, id: trace.NewID(), seen: make(map[string]uint64)}
	if _, err := srv.traces.Poll(t.id, o.User, o.Payload, nil, srv.now()); err != nil {
		return nil, fmt.Errorf("%w: %d", ErrManyTraces, MaxTraces)
	}
	return t, nil
}

// Next waits for events, at most for a time, and returns without one when it has passed, when
// other nodes are missing than before, or from the first call. A trace must be called every few
// seconds: without it, nodes end the trace by themselves. The error is ctx.Err() or
// ErrManyTraces.
func (t *Trace) Next(ctx context.Context, wait time.Duration) (TraceBatch, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		b, more, err := t.poll(ctx)
		if err != nil {
			return TraceBatch{}, err
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

func (t *Trace) poll(ctx context.Context) (b TraceBatch, more bool, err error) {
	answers, c, err := t.srv.operateOnAllNodes(ctx, Target{}, &operate.Question{Kind: operate.Trace, ID: t.id, Payload: t.order.Payload,
		Seen: t.seen, Target: operate.Target{User: t.order.User}})
	switch {
	case ctx.Err() != nil:
		return b, false, ctx.Err()
	case errors.Is(err, trace.ErrFull): // it was not called for so long that others took its place
		return b, false, fmt.Errorf("%w: %d", ErrManyTraces, MaxTraces)
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
			lost := TraceEvent{Event: node.TraceLost, Node: part.Node, Count: part.Lost, Time: t.srv.wall().UTC().Round(0)}
			if len(part.Events) > 0 {
				lost.Time = part.Events[0].Time
			}
			b.Events = append(b.Events, lost)
		}
		b.Events = append(b.Events, part.Events...)
	}
	slices.SortStableFunc(b.Events, func(x, y TraceEvent) int { return x.Time.Compare(y.Time) })
	return b, more, nil
}

func sameCoverage(a, b Coverage) bool {
	return a.Missing == b.Missing && slices.Equal(a.MissingNodes, b.MissingNodes) && (a.Unreachable == nil) == (b.Unreachable == nil)
}

// End ends the trace on all nodes that can be reached; the others end it after a few seconds.
func (t *Trace) End(ctx context.Context) {
	t.srv.traces.End(t.id)
	if t.srv.cluster != nil {
		t.srv.operateOnAllNodes(ctx, Target{}, &operate.Question{Kind: operate.EndTrace, ID: t.id})
	}
}
