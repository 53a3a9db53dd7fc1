package inbox

import (
	"context"
	"fmt"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// compareStreams compares what the server has recovered with the account.
func (s *Store) compareStreams(ctx context.Context, c *account.Check) error {
	var st [2]state
	for k := range subject.Ack {
		var err error
		if st[k], err = s.state(ctx, k); err != nil {
			return err
		}
	}
	c.Now = time.Now() // messages may have expired meanwhile
	var want [2]uint64
	if c.Tally.Valid >= 0 {
		err := c.Each(func(e *account.Adoptee, _ int64, removed bool) {
			// At the limit of the disk the server removes the oldest when it starts, too.
			evicted := c.Tally.Limits.DropOldest && e.Offset < st[e.Kind].First
			if !removed && !evicted && c.Streams[e.Kind].Live.Has(e.Offset) {
				want[e.Kind]++
			}
		})
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	for k := range subject.Ack {
		last := c.LastOffset(k)
		if st[k].Messages >= want[k] && st[k].Last >= last {
			continue
		}
		err := fmt.Errorf("%w: messages are missing: stream %s has %d up to offset %d, expected %d up to %d (%s)",
			store.ErrDamaged, k.Stream(), st[k].Messages, st[k].Last, want[k], last, s.local.log.worst())
		if !s.cfg.AcceptLoss {
			return fmt.Errorf("%w; restore %s from a backup; %w", err, s.local.dir, account.ErrAcceptLoss)
		}
		s.log.Error("stored messages are missing, which AcceptLoss accepts: readers are told of a gap", "err", err)
		c.Loss.Unknown = err.Error()
		// An offset for the markers to name: see lastOffset.
		for k := range subject.Ack {
			if _, err := s.skipOne(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}
