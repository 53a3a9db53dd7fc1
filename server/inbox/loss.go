package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// announceLoss makes readers learn of what is missing by a gap: a box whose last
// messages are missing gets a marker, an expired message whose link names the last
// of them. Where messages in between are missing, the links of others show it.
//
// Positions that are missing begin at 0: their users get messages a second time.
func (s *Store) announceLoss(ctx context.Context, c *check) error {
	for b, upTo := range c.purged {
		n, err := s.purgeStream(ctx, b, upTo)
		if err != nil {
			return err
		}
		if n > 0 {
			s.log.Warn("deleted messages were in the files again, and are deleted again", "messages", n)
		}
	}
	for b, l := range c.loss.boxes {
		if err := s.markGap(ctx, c, b, l.last); err != nil {
			return err
		}
	}
	if c.loss.unknown != "" {
		if err := s.markAllGaps(ctx, c); err != nil {
			return err
		}
	}
	for _, name := range c.loss.positions {
		err := s.putPosition(ctx, name, 0, storedPosition{at: "0", when: c.now})
		if err != nil && !errors.Is(err, errRaced) { // raced: it is there after all
			return err
		}
		c.strays[name] = c.now.UnixMilli()
	}
	return nil
}

// markGap appends a marker to a box, unless it has a message after an offset.
func (s *Store) markGap(ctx context.Context, c *check, b box, lost uint64) error {
	last, err := s.last(ctx, b)
	if err != nil {
		return err
	}
	var m message
	var expected uint64
	if last != nil {
		if last.Offset > lost {
			return nil
		}
		m.sum, expected = last.sum, last.Offset
	}
	m.Prev, m.Expires = lost, time.UnixMilli(1)
	offset, _, err := s.put(ctx, b, &m, nil, expected, "")
	if err != nil {
		return fmt.Errorf("marker of a gap: %w", err)
	}
	h := hashName(b.kind, b.name())
	c.tally.box(b.kind, []byte(b.name())).total++
	c.adopted[h] = append(c.adopted[h], adoptee{b.kind, offset, time.Now().UnixMilli(), 0, b.name()})
	c.streams[b.kind].live.add(offset)
	return nil
}

// markAllGaps appends a marker to each box that is known, where it cannot be told
// which have lost messages. The offset before the first marker was skipped for this:
// see lastOffset.
func (s *Store) markAllGaps(ctx context.Context, c *check) error {
	known := make(map[box]bool)
	err := c.each(func(e *adoptee, _ int64, _ bool) { known[boxNamed(e.kind, e.name)] = true })
	if err != nil {
		return err
	}
	position := func(name string) {
		if user, topic, ok := strings.Cut(name, "."); ok {
			known[boxNamed(topicKind, topic)] = true
		} else {
			known[boxNamed(inboxKind, user)] = true
		}
	}
	for name := range c.strays {
		position(name)
	}
	if c.tally.valid > 0 {
		_, _, err := readAccount(accountFile(c.dir), c.tally.valid, func(e *entry) {
			if e.what == entryPosition {
				position(string(e.name))
			}
		})
		if err != nil {
			return err
		}
	}
	s.log.Warn("every known user and topic gets a gap", "boxes", len(known))
	for b := range known {
		if err := s.markGap(ctx, c, b, c.lastOffset(b.kind)); err != nil {
			return err
		}
	}
	return nil
}
