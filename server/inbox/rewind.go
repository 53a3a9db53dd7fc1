package inbox

import (
	"context"
	"errors"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// Rewind implements store.Rewinder. It follows the links from the last message back, n times or
// until one leads to a message that is not there.
func (s *Store) Rewind(ctx context.Context, to store.Box, n int) (after uint64, err error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	b := subject.Of(to)
	end := s.end(b)
	m, err := s.last(ctx, b)
	switch {
	case err != nil:
		return 0, err
	case m == nil:
		return end, nil
	}
	for ; n > 1 && m.Prev > 0; n-- {
		prev, err := s.at(ctx, b, m.Prev)
		if prev == nil && err == nil || errors.Is(err, store.ErrDamaged) {
			break
		}
		if err != nil {
			return 0, err
		}
		m = prev
	}
	return m.Prev, nil
}
