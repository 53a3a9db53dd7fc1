package inbox

import (
	"context"
	"fmt"
	"strings"
)

// health of an embedded store, which ends when the store cannot write any more,
// with the error as its cause. JetStream gives no answer to what it could not
// store: whoever waits for one is told by this.
type health struct {
	context.Context
	end context.CancelCauseFunc
}

func newHealth() *health {
	ctx, end := context.WithCancelCause(context.Background())
	return &health{ctx, end}
}

// sick is why nothing can be written; nil: it can, or the store is an outside one.
func (s *Store) sick() error { return context.Cause(s.health.Load()) }

// within bounds an operation that writes by Config.Timeout, and by the health of
// the store.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	stop := context.AfterFunc(s.health.Load(), cancel)
	return ctx, func() { stop(); cancel() }
}

// illness tells what is wrong, and what to do, from what NATS says.
func (s *Store) illness(says string) error {
	if isDiskFull(says) {
		return fmt.Errorf("%w; it goes on by itself when there is room", s.diskFull())
	}
	return fmt.Errorf("%w: the disk fails; it goes on by itself when %s can be written again: %s",
		ErrUnavailable, s.cfg.Dir, says)
}

func (s *Store) diskFull() error {
	return fmt.Errorf("%w: make room where %s is, a few MiB at the least", ErrDiskFull, s.cfg.Dir)
}

// isDiskFull knows what systems say of a disk, or a share of it, without room.
func isDiskFull(says string) bool {
	return strings.Contains(says, "no space left") || strings.Contains(says, "quota exceeded")
}
