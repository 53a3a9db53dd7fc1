package inbox

import (
	"context"
	"errors"
	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fmt"
	"strings"
	"time"
)

// announceLoss makes readers learn of what is missing by a gap: a box whose last
// messages are missing gets a marker, an expired message whose link names the last
// of them. Where messages in between are missing, the links of others show it.
//
// Positions that are missing begin at 0: their users get messages a second time.
func (s *Store) announceLoss(ctx context.Context, c *account.Check) error {
	for b, upTo := range c.Purged {
		n, err := s.purgeStream(ctx, b, upTo)
		if err != nil {
			return err
		}
		if n > 0 {
			s.log.Warn("deleted messages were in the files again, and are deleted again", "messages", n)
		}
	}
	for b, l := range c.Loss.Boxes {
		if err := s.markGap(ctx, c, b, l.Last); err != nil {
			return err
		}
	}
	if c.Loss.Unknown != "" {
		if err := s.markAllGaps(ctx, c); err != nil {
			return err
		}
	}
	for _, name := range c.Loss.Positions {
		err := s.putPosition(ctx, name, 0, storedPosition{at: "0", when: c.Now})
		if err != nil && !errors.Is(err, errRaced) { // raced: it is there after all
			return err
		}
		c.Strays[name] = c.Now.UnixMilli()
	}
	return nil
}

// markGap appends a marker to a box, unless it has a message after an offset.
func (s *Store) markGap(ctx context.Context, c *account.Check, b subject.Box, lost uint64) error {
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
	c.Adopt(b, offset, time.Now())
	return nil
}

// markAllGaps appends a marker to each box that is known, where it cannot be told
// which have lost messages. The offset before the first marker was skipped for this:
// see lastOffset.
func (s *Store) markAllGaps(ctx context.Context, c *account.Check) error {
	known := make(map[subject.Box]bool)
	err := c.Each(func(e *account.Adoptee, _ int64, _ bool) { known[subject.Named(e.Kind, e.Name)] = true })
	if err != nil {
		return err
	}
	position := func(name string) {
		if user, topic, ok := strings.Cut(name, "."); ok {
			known[subject.Named(subject.Topic, topic)] = true
		} else {
			known[subject.Named(subject.Inbox, user)] = true
		}
	}
	for name := range c.Strays {
		position(name)
	}
	if c.Tally.Valid > 0 {
		_, _, err := account.Read(account.File(c.Dir), c.Tally.Valid, func(e *account.Entry) {
			if e.What == account.EntryPosition {
				position(string(e.Name))
			}
		})
		if err != nil {
			return err
		}
	}
	s.log.Warn("every known user and topic gets a gap", "boxes", len(known))
	for b := range known {
		if err := s.markGap(ctx, c, b, c.LastOffset(b.Kind)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) logSetBack(c *account.Check) {
	positions, users := c.SetBackPositions()
	if positions == 0 {
		return
	}
	of := fmt.Sprint(users)
	if users < positions {
		of = fmt.Sprintf("%d to %d", users, positions)
	}
	s.log.Warn("acknowledged positions are damaged, and earlier ones are used: their users receive messages a second time",
		"positions", positions, "users", of)
}
