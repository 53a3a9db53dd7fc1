package inbox

import (
	"context"
	"fmt"
	"log/slog"

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

// headroom is for headers, in bytes: an ID and a name of 256 each, and links.
const headroom = 4 << 10

// tooBig returns the error for a payload of so many bytes, nil if it can be stored.
func (s *Store) tooBig(size int64) error {
	nats := s.link.Load().nc.MaxPayload()
	switch most := nats - headroom; {
	case size > s.cfg.Bytes:
		return fmt.Errorf("%w: %d bytes; the limit of a user or topic, Bytes, is %d", store.ErrTooBig, size, s.cfg.Bytes)
	case size <= most:
		return nil
	case s.local != nil:
		return fmt.Errorf("%w: %d bytes; at most %d can be stored", store.ErrTooBig, size, most)
	default:
		return fmt.Errorf("%w: %d bytes; at most %d can be stored while max_payload of NATS is %d", store.ErrTooBig, size, most, nats)
	}
}

// warnOfMaxPayload logs, once for each value, that NATS accepts less than what is
// going to be appended: as information if only the headers do not fit.
func (s *Store) warnOfMaxPayload(accepts int64) {
	want := min(s.cfg.MaxPayload, s.cfg.Bytes) + headroom
	if s.cfg.MaxPayload == 0 || accepts >= want || s.tooLow.Swap(accepts) == accepts {
		return
	}
	if s.local != nil {
		s.log.Warn("payload limit of the embedded store too low", "longest", accepts-headroom, "MaxPayload", s.cfg.MaxPayload,
			"effect", "longer messages are rejected")
		return
	}
	level := slog.LevelInfo // the defaults of both differ by headroom only
	if want-headroom > accepts {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "max_payload of NATS too low", "max_payload", accepts, "want", want, "longest", accepts-headroom,
		"effect", "longer messages are rejected", "advice", "raise max_payload in the configuration of NATS")
}
