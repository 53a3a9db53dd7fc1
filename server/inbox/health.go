package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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

// bound is the context of a write, bounded when something first needs that: a publisher of an embedded
// server bounds the wait for an answer itself, and within costs a fifth of what storing a short message does.
type bound struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc // nil: ctx is not bounded
}

func (s *Store) bound(ctx context.Context) *bound { return &bound{s: s, ctx: ctx} }

// context returns the context, bounded by within from the first call on.
func (b *bound) context() context.Context {
	if b.cancel == nil {
		b.ctx, b.cancel = b.s.within(b.ctx)
	}
	return b.ctx
}

// publishing returns the context for Store.publish.
func (b *bound) publishing() context.Context {
	if b.s.local != nil {
		return b.ctx
	}
	return b.context()
}

func (b *bound) end() {
	if b.cancel != nil {
		b.cancel()
	}
}

// begin bounds an operation like within, and fails if the store cannot be used.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	s.settle(ctx)
	s.awaitHeal(ctx)
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
	if strings.Contains(says, "too many open files") {
		return fmt.Errorf("%w: the process has no file descriptor left; raise its limit (ulimit -n, LimitNOFILE); the store continues by itself when some are closed: %s",
			store.ErrUnavailable, says)
	}
	return fmt.Errorf("%w: the disk fails; the store continues by itself when %s can be written again: %s",
		store.ErrUnavailable, s.local.dir, says)
}

// awaitHeal waits, for Config.Timeout at most, while an embedded server that met a full
// disk is started again: reads and purges continue then.
func (s *Store) awaitHeal(ctx context.Context) {
	if s.local == nil || !errors.Is(s.sick(), store.ErrDiskFull) {
		return
	}
	deadline := time.NewTimer(s.cfg.Timeout)
	defer deadline.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for errors.Is(s.sick(), store.ErrDiskFull) {
		select {
		case <-look.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		case <-s.quit:
			return
		}
	}
}
