package inbox

import (
	"context"
	"fmt"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/store"
)

// health of an embedded store. It ends when the server cannot be used any more,
// with the error as its cause. JetStream does not answer what it could not store:
// The operations that wait for an answer are canceled when health ends.
type health struct {
	context.Context
	end context.CancelCauseFunc
}

func newHealth() *health {
	ctx, end := context.WithCancelCause(context.Background())
	return &health{ctx, end}
}

// sick returns why an embedded store cannot be used; nil if it can be, or is an outside
// one.
func (s *Store) sick() error { return context.Cause(s.health.Load()) }

// within bounds an operation by Config.Timeout, and by the health of the store.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	if s.local == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(s.health.Load(), cancel)
	return ctx, func() { stop(); cancel() }
}

// begin bounds an operation like within, and fails if the store cannot be used.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	s.settle(ctx)
	if err := s.usable(); err != nil {
		s.stats.unavailable.Add(1)
		return nil, nil, err
	}
	ctx, cancel := s.within(ctx)
	return ctx, cancel, nil
}

// illness says what is wrong, and what to do, from what JetStream says.
func (s *Store) illness(says string) error {
	if datadir.IsDiskFull(says) {
		return datadir.DiskFull(s.local.dir)
	}
	return fmt.Errorf("%w: the disk fails; the store continues by itself when %s can be written again: %s",
		store.ErrUnavailable, s.local.dir, says)
}
