package inbox

import (
	"context"
	"fmt"
	"time"

	"fanfare/server/store"
)

// compare finds out what is missing.
func (c *check) compare() error {
	if c.tally.valid < 0 || !c.tally.limited {
		return nil
	}
	var head [2]struct { // missing before the first message that is there
		bytes, largest int64
		entries        []adoptee
		power          int
	}
	var since [2]int64 // bytes appended after the last mark
	var first [2]uint64
	for k := range first {
		first[k] = c.streams[k].live.min()
	}
	err := c.each(func(e *adoptee, frame int64, removed bool) {
		k := e.kind
		if frame > c.tally.marked {
			since[k] += int64(e.size) + recordOverhead
		}
		switch {
		case removed, c.streams[k].live.has(e.offset), c.streams[k].removed.has(e.offset):
			return // in a copy of a running store the account may be the older part
		case e.offset < first[k] && c.tally.limits.dropOldest:
			h := &head[k]
			h.bytes += int64(e.size) + recordOverhead
			h.largest = max(h.largest, int64(e.size)+recordOverhead)
			h.entries = append(h.entries, *e)
			if c.powerCut(frame) {
				h.power++
			}
			return
		}
		c.lose(e, c.powerCut(frame))
	})
	if err != nil {
		return err
	}
	for k := range head {
		h := &head[k]
		// Of what is removed at the limit of the disk the account learns later.
		evicted := h.bytes <= since[k]+h.largest || c.streams[k].bytes+h.bytes > int64(c.tally.limits.disk)
		for i := range h.entries {
			if !evicted {
				c.lose(&h.entries[i], i < h.power)
			}
		}
	}
	return c.comparePositions()
}

// recordOverhead is about what a message takes beyond its payload.
const recordOverhead = 150

// powerCut reports whether the loss of what was accounted in a frame may be that of
// a power cut.
func (c *check) powerCut(frame int64) bool {
	return !c.tally.limits.flush && frame >= c.tally.durable && c.rebooted()
}

func (c *check) rebooted() bool {
	n := len(c.tally.epochs)
	return n == 0 || c.boot == "" || c.tally.epochs[n-1].boot != c.boot
}

func (c *check) lose(e *adoptee, power bool) {
	b := boxNamed(e.kind, e.name)
	l := c.loss.boxes[b]
	if l == nil {
		l = new(boxLoss)
		c.loss.boxes[b] = l
	}
	l.last = max(l.last, e.offset)
	c.loss.messages++
	if at := time.UnixMilli(e.ms); at.After(c.loss.newest) {
		c.loss.newest = at
	}
	if power {
		c.loss.power++
	}
}

// each calls f for each message that was accepted, adopted ones included, in the
// order of each box. removed tells whether it may have been removed
// lawfully. Frame is 0 for what is adopted.
func (c *check) each(f func(e *adoptee, frame int64, removed bool)) error {
	t := c.tally
	t.rewind()
	var done [2]seqSet
	for k := range done {
		done[k] = make(seqSet)
	}
	next := make(map[uint64]int, len(c.adopted)) // of each adopted list
	adopt := func(h uint64, before uint64) {
		list := c.adopted[h]
		for next[h] < len(list) && list[next[h]].offset < before {
			e := &list[next[h]]
			next[h]++
			f(e, 0, t.removed(e.kind, t.boxes[h], e.offset, e.ms, c.now))
		}
	}
	if t.valid > 0 {
		_, _, err := readAccount(accountFile(c.dir), t.valid, func(e *entry) {
			if (e.what != entryInbox && e.what != entryTopic) || done[e.kind].has(e.offset) {
				return
			}
			done[e.kind].add(e.offset)
			h := hashName(e.kind, e.name)
			if len(c.adopted) > 0 {
				adopt(h, e.offset)
			}
			m := adoptee{e.kind, e.offset, e.ms, int(e.size), string(e.name)}
			removed := t.removed(e.kind, t.boxes[h], e.offset, e.ms, c.now)
			if removed && e.offset <= t.boxes[h].purged && c.streams[e.kind].live.has(e.offset) {
				c.purgeAgain(e.kind, m.name, t.boxes[h].purged)
			}
			f(&m, e.frame, removed)
		})
		if err != nil {
			return err
		}
	}
	for h := range c.adopted {
		adopt(h, ^uint64(0))
	}
	return nil
}

func (c *check) comparePositions() error {
	missing := make(map[uint64]bool)
	for h, ms := range c.tally.positions {
		if c.stored[h] == 0 && !c.tally.positionExpired(ms, c.now) {
			missing[h] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, _, err := readAccount(accountFile(c.dir), c.tally.valid, func(e *entry) {
		if h := hashName(ackKind, e.name); e.what == entryPosition && missing[h] {
			delete(missing, h)
			c.loss.positions = append(c.loss.positions, string(e.name))
		}
	})
	return err
}

// compareStreams compares what the server has recovered with the account.
func (s *Store) compareStreams(ctx context.Context, c *check) error {
	var st [2]state
	for k := range ackKind {
		var err error
		if st[k], err = s.state(ctx, k); err != nil {
			return err
		}
	}
	c.now = time.Now() // messages may have expired meanwhile
	var want [2]uint64
	if c.tally.valid >= 0 {
		err := c.each(func(e *adoptee, _ int64, removed bool) {
			// At the limit of the disk the server removes the oldest when it starts, too.
			evicted := c.tally.limits.dropOldest && e.offset < st[e.kind].First
			if !removed && !evicted && c.streams[e.kind].live.has(e.offset) {
				want[e.kind]++
			}
		})
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	for k := range ackKind {
		last := c.lastOffset(k)
		if st[k].Messages >= want[k] && st[k].Last >= last {
			continue
		}
		err := fmt.Errorf("%w: messages are missing: stream %s has %d up to offset %d, expected %d up to %d (%s)",
			store.ErrDamaged, k.stream(), st[k].Messages, st[k].Last, want[k], last, s.local.log.worst())
		if !s.cfg.AcceptLoss {
			return fmt.Errorf("%w; restore %s from a backup; %w", err, s.local.dir, errAcceptLoss)
		}
		s.log.Error("stored messages are missing, which AcceptLoss accepts: readers are told of a gap", "err", err)
		c.loss.unknown = err.Error()
		// An offset for the markers to name: see lastOffset.
		for k := range ackKind {
			if _, err := s.skipOne(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}
