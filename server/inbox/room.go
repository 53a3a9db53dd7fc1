package inbox

import (
	"context"
	"fmt"
)

// makeRoom in a box whose bytes are too many with size more, by the policy for
// users.
func (s *Store) makeRoom(ctx context.Context, b Box, t *tail, size int64) error {
	// Nobody is asked whether a topic was read.
	refuse := s.cfg.UserFull == FullRefuse && b.stream == inboxStream
	if refuse {
		if _, err := s.purgeRead(ctx, b); err != nil {
			return err
		}
	}
	// What we take for the beginning of the box may be gone already.
	first, err := s.first(ctx, b)
	if err != nil {
		return err
	}
	if t.base = t.sum; first != nil {
		t.base = first.before()
	}
	switch {
	case t.sum+size-t.base <= s.cfg.Bytes:
		return nil
	case refuse:
		s.stats.refused.Add(1)
		return fmt.Errorf("%w: %d bytes are unread", ErrFull, t.sum-t.base)
	}
	return s.dropOldest(ctx, b, t, size)
}

// dropOldest purges until an eighth of the limit is free behind a message of
// that size: to drop messages one by one would cost a purge with each Append.
func (s *Store) dropOldest(ctx context.Context, b Box, t *tail, size int64) error {
	keep := max(s.cfg.Bytes-s.cfg.Bytes/8-size, 0)
	// The links lead back from the end, and so to the first that has to go.
	m, err := s.last(ctx, b)
	for m != nil && t.sum-m.before() <= keep {
		t.base = m.before()
		m, err = s.at(ctx, b, m.Prev)
	}
	if m == nil || err != nil {
		return err
	}
	t.base = m.sum
	n, err := s.purge(ctx, b, m.Offset)
	s.stats.dropped.Add(int64(n))
	if m.Offset >= t.last {
		t.last = 0
	}
	return err
}
