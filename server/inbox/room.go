package inbox

import (
	"context"
	"fmt"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// makeRoom removes messages of a box that would exceed Config.Bytes with size more,
// or returns ErrFull, by the policy.
func (s *Store) makeRoom(ctx context.Context, b subject.Box, t *tail, size int64) error {
	// Whether a topic was read by all subscribers is not known.
	reject := s.cfg.UserFull == FullReject && b.Kind == subject.Inbox
	if reject {
		if _, err := s.purgeRead(ctx, b); err != nil {
			return err
		}
	}
	// The first messages of the box may have been removed since it was looked up.
	first, err := s.first(ctx, b)
	if err != nil {
		return err
	}
	if t.base = t.sum; first != nil {
		t.base = first.sumBefore()
	}
	switch {
	case t.sum+size-t.base <= s.cfg.Bytes:
		return nil
	case reject:
		s.stats.rejected.Add(1)
		return fmt.Errorf("%w: %d bytes are unread", store.ErrFull, t.sum-t.base)
	}
	return s.dropOldest(ctx, b, t, size)
}

// dropOldest removes the oldest messages until an eighth of the limit is free after
// a message of that size: removing them one by one would cost a purge with each
// append.
func (s *Store) dropOldest(ctx context.Context, b subject.Box, t *tail, size int64) error {
	keep := max(s.cfg.Bytes-s.cfg.Bytes/8-size, 0)
	// The links lead back from the end, and so to the first that has to go.
	m, err := s.last(ctx, b)
	for m != nil && t.sum-m.sumBefore() <= keep {
		t.base = m.sumBefore()
		m, err = s.at(ctx, b, m.Prev)
	}
	if m == nil || err != nil {
		return err
	}
	t.base = m.sum
	n, err := s.purge(ctx, b, m.Offset)
	s.stats.evicted.Add(int64(n))
	if m.Offset >= t.last {
		t.last = 0
	}
	return err
}
