package presence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/node"
)

const (
	// followAgain is the pause after which a node reads the occupants again.
	followAgain = 250 * time.Millisecond
	// followBeat is how often JetStream says that there is nothing new. Without it the occupants
	// are read again.
	followBeat = 2 * time.Second
	// followWait is how long the end of the occupants that exist is waited for, before JetStream is
	// asked whether there are more.
	followWait = 500 * time.Millisecond
)

// follow tells an observer of the occupants in the journal until the service ends.
func (s *Service) follow(to node.OccupantObserver) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.background.Go(func() {
		<-s.quit
		cancel()
	})
	failure := ""
	for ctx.Err() == nil {
		err := s.followOnce(ctx, to)
		if s.synced.Swap(0) != 0 {
			failure = ""
		}
		if text := err.Error(); ctx.Err() == nil && text != failure && !errors.Is(err, jetstream.ErrStreamNotFound) { // which recurs
			failure = text
			s.log.Warn("presence: what is known of other nodes may be outdated; retrying", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}

var errInterrupted = errors.New("the connection to NATS was interrupted")

// followOnce reads all occupants, and their changes until there may be one that it has missed.
func (s *Service) followOnce(ctx context.Context, to node.OccupantObserver) error {
	reconnects := s.nc.Stats().Reconnects
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.background.Go(func() { s.watch(ctx, reconnects, cancel) })
	js := s.worker.journal.js
	bound, end := context.WithTimeout(ctx, operation)
	defer end()
	c, err := js.CreateConsumer(bound, streamName, jetstream.ConsumerConfig{FilterSubject: occupantPrefix + "*",
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute})
	if err != nil {
		return err
	}
	defer func() {
		bound, end := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer end()
		js.DeleteConsumer(bound, streamName, c.CachedInfo().Name)
	}()
	messages, err := c.Messages(jetstream.PullHeartbeat(followBeat), jetstream.PullExpiry(10*followBeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	f := following{to: to, messages: messages, next: 1}
	if err := f.load(ctx, c); err != nil {
		return err
	}
	s.synced.Store(reconnects + 1)
	for {
		change, _, err := f.read(jetstream.NextContext(ctx))
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		to.FollowOccupants(change, false)
	}
}

// watch cancels a context after NATS was away: messages may be missing, and what has happened
// meanwhile may have expired.
func (s *Service) watch(ctx context.Context, reconnects uint64, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for s.nc.Stats().Reconnects == reconnects {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	cancel(errInterrupted)
}

// following reads the occupants in the journal.
type following struct {
	to       node.OccupantObserver
	messages jetstream.MessagesContext
	next     uint64 // number of the next message
}

// load reads all occupants that exist.
func (f *following) load(ctx context.Context, c jetstream.Consumer) error {
	var list []node.OccupantChange
	for left := c.CachedInfo().NumPending; left > 0; {
		change, pending, err := f.read(jetstream.NextMaxWait(followWait))
		switch {
		case errors.Is(err, nats.ErrTimeout): // the rest has expired, or was replaced
			info, err := c.Info(ctx)
			if err != nil {
				return err
			}
			if left = info.NumPending; info.Delivered.Consumer >= f.next {
				left++ // it is on its way
			}
		case err != nil:
			return err
		default:
			list, left = append(list, change...), pending
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	f.to.FollowOccupants(list, true)
	return nil
}

// read returns the next change, and how many follow it.
func (f *following) read(wait jetstream.NextOpt) (change []node.OccupantChange, pending uint64, err error) {
	m, err := f.messages.Next(wait)
	if err != nil {
		return nil, 0, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, 0, err
	}
	if meta.Sequence.Consumer != f.next {
		return nil, 0, errInterrupted
	}
	f.next++
	c, ok := decodeRecord(m.Data())
	if !ok {
		return nil, 0, fmt.Errorf("malformed record at %d of the stream %s, or one of another version", meta.Sequence.Stream, streamName)
	}
	if o, ok := occupantOf(c.Name); ok {
		change = append(change, node.OccupantChange{Occupant: o, Present: c.Present})
	}
	return change, meta.NumPending, nil
}
