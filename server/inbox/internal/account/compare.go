package account

import (
	"time"

	"fanfare/server/inbox/internal/subject"
)

// compare finds out what is missing.
func (c *Check) compare() error {
	if c.Tally.Valid < 0 || !c.Tally.Limited {
		return nil
	}
	var head [2]struct { // missing before the first message that is there
		bytes, largest int64
		entries        []Adoptee
		power          int
	}
	var since [2]int64 // bytes appended after the last mark
	var first [2]uint64
	for k := range first {
		first[k] = c.Streams[k].Live.min()
	}
	err := c.Each(func(e *Adoptee, frame int64, removed bool) {
		k := e.Kind
		if frame > c.Tally.marked {
			since[k] += int64(e.size) + recordOverhead
		}
		switch {
		case removed, c.Streams[k].Live.Has(e.Offset), c.Streams[k].removed.Has(e.Offset):
			return // in a copy of a running store the account may be the older part
		case e.Offset < first[k] && c.Tally.Limits.DropOldest:
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
		evicted := h.bytes <= since[k]+h.largest || c.Streams[k].bytes+h.bytes > int64(c.Tally.Limits.Disk)
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
func (c *Check) powerCut(frame int64) bool {
	return !c.Tally.Limits.Flush && frame >= c.Tally.Durable && c.rebooted()
}

func (c *Check) rebooted() bool {
	n := len(c.Tally.Epochs)
	return n == 0 || c.boot == "" || c.Tally.Epochs[n-1].Boot != c.boot
}

func (c *Check) lose(e *Adoptee, power bool) {
	b := subject.Named(e.Kind, e.Name)
	l := c.Loss.Boxes[b]
	if l == nil {
		l = new(boxLoss)
		c.Loss.Boxes[b] = l
	}
	l.Last = max(l.Last, e.Offset)
	c.Loss.Messages++
	if at := time.UnixMilli(e.ms); at.After(c.Loss.newest) {
		c.Loss.newest = at
	}
	if power {
		c.Loss.power++
	}
}

// Each calls f for each message that was accepted, adopted ones included, in the
// order of each box. removed reports whether a limit, an age or a purge may have
// removed it. frame is 0 for an adopted message.
func (c *Check) Each(f func(e *Adoptee, frame int64, removed bool)) error {
	t := c.Tally
	t.rewind()
	var done [2]seqSet
	for k := range done {
		done[k] = make(seqSet)
	}
	next := make(map[uint64]int, len(c.adopted)) // of each adopted list
	adopt := func(h uint64, before uint64) {
		list := c.adopted[h]
		for next[h] < len(list) && list[next[h]].Offset < before {
			e := &list[next[h]]
			next[h]++
			f(e, 0, t.removed(e.Kind, t.Boxes[h], e.Offset, e.ms, c.Now))
		}
	}
	if t.Valid > 0 {
		_, _, err := Read(File(c.Dir), t.Valid, func(e *Entry) {
			if (e.What != entryInbox && e.What != entryTopic) || done[e.kind].Has(e.offset) {
				return
			}
			done[e.kind].Add(e.offset)
			h := HashName(e.kind, e.Name)
			if len(c.adopted) > 0 {
				adopt(h, e.offset)
			}
			m := Adoptee{e.kind, e.offset, e.ms, int(e.size), string(e.Name)}
			removed := t.removed(e.kind, t.Boxes[h], e.offset, e.ms, c.Now)
			if removed && e.offset <= t.Boxes[h].purged && c.Streams[e.kind].Live.Has(e.offset) {
				c.purgeAgain(e.kind, m.Name, t.Boxes[h].purged)
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

func (c *Check) comparePositions() error {
	missing := make(map[uint64]bool)
	for h, ms := range c.Tally.Positions {
		if c.Stored[h].Seq == 0 && !c.Tally.positionExpired(ms, c.Now) {
			missing[h] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, _, err := Read(File(c.Dir), c.Tally.Valid, func(e *Entry) {
		if h := HashName(subject.Ack, e.Name); e.What == EntryPosition && missing[h] {
			delete(missing, h)
			c.Loss.Positions = append(c.Loss.Positions, string(e.Name))
		}
	})
	return err
}
