package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// announceLoss makes readers learn of what is missing by a gap: a box whose last
// messages are missing gets a marker, an expired message whose link names the last
// of them. Where messages in between are missing, the links of others show it.
//
// Positions that are missing begin at 0: their users get messages a second time.
func (s *Store) announceLoss(ctx context.Context, c *account.Check) error {
	for b, upTo := range c.Purged {
		err := s.makePurgeRoom()
		if err != nil {
			return err
		}
		n, err := s.purgeLocal(ctx, b, upTo)
		if err != nil {
			return err
		}
		if n > 0 {
			s.log.Warn("deleted messages found again and deleted", "messages", n)
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
		_, err := s.putPosition(ctx, name, 0, storedPosition{at: "0", when: c.Now})
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
	c.Adopt(b, offset, s.now())
	return nil
}

// markAllGaps appends a marker to each box that is known, if the check cannot tell
// which of them have lost messages. The offset before the first marker was skipped for this:
// see LastOffset.
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
	s.log.Warn("gap added to all known users and topics", "boxes", len(known))
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
	s.log.Warn("positions damaged", "positions", positions, "users", of,
		"effect", "earlier positions are used; these users receive messages a second time")
}

// compareStreams compares what the server has recovered with the account.
func (s *Store) compareStreams(ctx context.Context, c *account.Check) error {
	var st [2]state
	for k := range subject.Ack {
		var err error
		if st[k], err = s.state(ctx, k); err != nil {
			return err
		}
	}
	c.Now = s.now() // messages may have expired meanwhile
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
		err := fmt.Errorf("%w: messages are missing: stream %s has %d up to offset %d, expected %d up to %d",
			store.ErrDamaged, k.Stream(), st[k].Messages, st[k].Last, want[k], last)
		if !s.cfg.AcceptLoss {
			return field.Wrapf("%w; restore %s from a backup; %w", err, s.local.dir, account.ErrAcceptLoss)
		}
		s.log.Error("stored messages missing", "err", err, "effect", effectOfLoss)
		c.Loss.Unknown = err.Error()
		// An offset for the markers to name: see LastOffset.
		for k := range subject.Ack {
			if _, err := s.skipOne(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}
