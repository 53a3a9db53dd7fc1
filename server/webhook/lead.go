package webhook

import (
	"context"
	"errors"
	"sync"

	"fanfare/server"
	"fanfare/server/internal/field"
)

// clusterQueue is the name of the queue that all nodes share.
const clusterQueue = "cluster"

// leading is the part of a Service that posts the events of the whole cluster.
type leading struct {
	// mu is held across the start and the end of the service: mu → the recorder.
	mu  sync.Mutex
	s   *Service // nil: this node does not lead; guarded by mu
	cfg Config   // in force; guarded by mu
}

var errNotLeading = errors.New("webhook: Report was called without Lead")

// Lead makes this node the one that posts the events of the whole cluster: those that are
// given to Report, on this node or earlier on another one. They have a queue of their own at
// Config.URL, which all nodes share, and are posted in its order. Dead letters are those of
// this node.
func (s *Service) Lead(context.Context) error {
	l := &s.leading
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s != nil {
		return nil
	}
	cfg := l.cfg
	hooks, err := cfg.validate()
	if err != nil {
		return err
	}
	q, err := openOutside(&cfg)
	if err != nil {
		return err
	}
	q.name = clusterQueue
	next := newService(cfg, s.now, s.random, s.stats)
	next.queue, next.shared = q, true
	next.escalations = next.escalationsOf(q, escalatePoll)
	next.run(hooks, nil)
	l.s = next
	return nil
}

// Report queues events of the cluster with their identifiers, in this order. It returns nil
// when all are stored, or counted as dropped because the queue is full. After an
// error the caller may report the events again with the same identifiers, to this node or another.
func (s *Service) Report(ctx context.Context, events []server.Event, ids []string) error {
	to := s.leading.service()
	if to == nil {
		return errNotLeading
	}
	return to.report(ctx, events, ids)
}

// report queues events with their identifiers in the queue of this service, see Report.
func (s *Service) report(ctx context.Context, events []server.Event, ids []string) error {
	done := make(chan struct{})
	select {
	case s.commands <- func() { s.storeEvents(events, ids); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return errNotLeading
	}
	select {
	case <-done:
	case <-ctx.Done(): // the queue cannot be reached; Resign ends the attempt
		return ctx.Err()
	}
	if s.ctx.Err() != nil { // storeEvents may have given up
		return errNotLeading
	}
	return nil
}

// Resign ends what Lead has begun. What is in the queue stays there.
func (s *Service) Resign() {
	l := &s.leading
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s == nil {
		return
	}
	l.s.cancel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	l.s.Close(ended)
	l.s = nil
}

func (l *leading) reconfigure(cfg Config) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = cfg
	if l.s == nil {
		return nil
	}
	if err := l.s.Reconfigure(cfg); err != nil {
		return field.Wrapf("webhook: %w", err)
	}
	return nil
}

// service returns the service of the cluster's events; nil: this node does not lead.
func (l *leading) service() *Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}
