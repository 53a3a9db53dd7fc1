package account

import "fanfare/server/inbox/internal/subject"

// Excess is what stricter limits remove of what is stored.
type Excess struct {
	Messages int
	Unread   int // of inboxes; of a topic it is not known
	Users    int // with unread ones
	Topics   int
}

// Reason is the limit that removes a message.
type Reason uint8

const (
	ByAge Reason = iota
	ByMessages
	ByDisk
	Reasons
)

// Compared reports whether there was an account, with limits, to compare the files with.
func (c *Check) Compared() bool { return c.Tally.Valid >= 0 && c.Tally.Limited }

// Exceeding counts what is stored and that a server removes which begins to use the limits l,
// after it had others. first are the first offsets that it leaves in the streams, 0 if nothing
// is removed at the limit of the disk.
func (c *Check) Exceeding(had, l Limits, first [2]uint64) (by [Reasons]Excess, err error) {
	boxes := make(map[excessKey]struct{})
	now := max(c.Tally.ms, c.Now.UnixMilli())
	err = c.Each(func(e *Adoptee, _ int64, _ bool) {
		k, h := e.Kind, HashName(e.Kind, e.Name)
		box := c.Tally.Boxes[h]
		if !c.Streams[k].Live.Has(e.Offset) || e.Offset <= box.purged || e.ms+had.Age.Milliseconds() <= now {
			return
		}
		var r Reason
		switch {
		case e.ms+l.Age.Milliseconds() <= now:
			r = ByAge
		case uint64(box.total-box.passed) >= l.Messages:
			r = ByMessages
		case e.Offset < first[k]:
			r = ByDisk
		default:
			return
		}
		x, key := &by[r], excessKey{r, h}
		_, counted := boxes[key]
		x.Messages++
		switch {
		case k == subject.Topic && !counted:
			x.Topics++
		case k == subject.Topic:
		case e.Offset <= c.Stored[HashName(subject.Ack, e.Name)].Offset:
			return // it is read
		default:
			x.Unread++
			if !counted {
				x.Users++
			}
		}
		boxes[key] = struct{}{}
	})
	return by, err
}

// excessKey is a box that a limit removes messages of.
type excessKey struct {
	by  Reason
	box uint64
}
