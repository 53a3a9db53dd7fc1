package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fanfare/server/inbox/internal/subject"
)

// Check is the comparison of the files of an embedded store with its account,
// before a server uses them. It changes nothing.
type Check struct {
	Dir   string
	Now   time.Time
	boot  string // of the machine, empty if unknown
	Tally *tally

	Streams [subject.Kinds]streamCheck
	adopted map[uint64][]Adoptee // messages without entry, by box, in order
	maxAck  [2]uint64            // greatest acknowledged offset, by kind
	Stored  map[uint64]StoredPosition
	// strays are positions that are stored and not in the account, with their time.
	Strays map[string]int64

	// Descriptions are the files that describe streams and are missing or damaged.
	Descriptions []string

	closed  *closing // nil: the process was killed
	Torn    []damage // incomplete last writes of a process that was killed
	setBack setBack

	Loss loss
	// purged are boxes with messages that were removed on request and are there
	// again, with the offset up to which they are.
	Purged map[subject.Box]uint64
}

// streamCheck lists what the block files of a stream contain.
type streamCheck struct {
	Exists  bool
	Live    seqSet
	removed seqSet // there is a tombstone
	bytes   int64
	last    uint64 // greatest sequence, of a message or tombstone
	Damaged []damage
	repair  []block // that have damaged parts, or end within a record
}

// Adoptee is a stored message that the account does not know: its append was under
// way when the process ended.
type Adoptee struct {
	Kind   subject.Kind
	Offset uint64
	ms     int64
	size   int
	Name   string
}

// Inspect reads all files of a directory and compares them. boot is the ID of the boot
// of the machine, empty if it is not known.
func Inspect(ctx context.Context, dir, boot string, now time.Time) (*Check, error) {
	c := &Check{Dir: dir, Now: now, boot: boot, adopted: make(map[uint64][]Adoptee), Stored: make(map[uint64]StoredPosition),
		Strays: make(map[string]int64), Purged: make(map[subject.Box]uint64), Loss: loss{Boxes: make(map[subject.Box]*boxLoss)}}
	var err error
	if c.Tally, err = ReadTally(File(dir), -1); err != nil {
		return nil, err
	}
	c.Descriptions = damagedDescriptions(dir)
	if err := c.compareEnd(); err != nil {
		return nil, err
	}
	for k := range subject.Kinds {
		if err := c.readStream(ctx, k); err != nil {
			return nil, err
		}
	}
	for _, list := range c.adopted {
		slices.SortFunc(list, func(a, b Adoptee) int { return cmp.Compare(a.Offset, b.Offset) })
		b, last := c.Tally.box(list[0].Kind, []byte(list[0].Name)), list[len(list)-1]
		b.total += uint32(len(list))
		b.ends(last.Offset, last.ms)
	}
	switch {
	case len(c.Tally.damaged) > 0:
		c.Loss.Unknown = fmt.Sprintf("the account of what was stored is damaged (%v)", c.Tally.damaged[0])
	case c.Tally.Valid < 0 && FileExists(WitnessFile(dir)): // of a version without an account
	case c.Tally.Valid < 0 && c.hasMessages():
		c.Loss.Unknown = "the account of what was stored, " + File(dir) + ", is missing"
	case c.Tally.Valid < 0 && used(dir):
		c.Loss.Unknown = "the account of what was stored, " + File(dir) + ", and all messages are missing"
		for k := range c.Tally.last { // offsets that were assigned are not assigned again
			c.Tally.last[k] = subject.FirstOffset(now, 0)
		}
	case c.Tally.Valid >= 0 && !c.Tally.Limited:
		if c.hasMessages() {
			c.Loss.Unknown = "the account of what was stored, " + File(dir) + ", is cut"
		}
	}
	c.compareHighWater()
	return c, c.compare()
}

// WitnessFile returns the path of what versions without an account wrote instead.
func WitnessFile(dir string) string { return filepath.Join(dir, "witness.json") }

// FileExists reports whether a file exists, as far as this process may know.
func FileExists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Adopt adds an empty message to what is stored: a marker.
func (c *Check) Adopt(b subject.Box, offset uint64, at time.Time) {
	h := HashName(b.Kind, b.Name())
	box := c.Tally.box(b.Kind, []byte(b.Name()))
	box.total++
	box.ends(offset, at.UnixMilli())
	c.adopted[h] = append(c.adopted[h], Adoptee{b.Kind, offset, at.UnixMilli(), 0, b.Name()})
	c.Streams[b.Kind].Live.Add(offset)
}

// StoredPosition is what the records of a position say.
type StoredPosition struct {
	Offset uint64
	Seq    uint64 // of the latest
}

// End is the last message that a box had.
type End struct {
	Offset uint64
	Ms     int64 // when it was stored
}

// Ends returns, by HashName, the last message that each box had, unless it was removed on
// request, or so long ago that the box is forgotten.
func (c *Check) Ends() map[uint64]End {
	last := make(map[uint64]End, len(c.Tally.Boxes))
	for h, b := range c.Tally.Boxes {
		if b.last > b.purged && !c.Tally.forgotten(b.ms, c.Now) {
			last[h] = End{b.last, b.ms}
		}
	}
	return last
}

// hasMessages reports whether a server has used the directory.
func (c *Check) hasMessages() bool {
	return c.Streams[subject.Inbox].Exists || c.Streams[subject.Topic].Exists || c.Streams[subject.Ack].Exists
}

// readStream reads the blocks of a stream.
func (c *Check) readStream(ctx context.Context, k subject.Kind) error {
	st := &c.Streams[k]
	st.Live, st.removed = make(seqSet), make(seqSet)
	blocks, msgs, err := blockFiles(c.Dir, k)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(msgs)); err == nil {
		st.Exists = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var unknown []Adoptee
	var buf []byte
	for _, blk := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if buf, err = readFile(blk.file, buf); err != nil {
			return err
		}
		damaged, end := newBlockReader(k, blk.index).records(buf, func(_ int, rec record) {
			st.last = max(st.last, rec.seq)
			switch {
			case rec.erased:
			case rec.tomb:
				st.removed.Add(rec.seq)
			case k == subject.Ack:
				c.readPosition(rec)
			default:
				st.Live.Add(rec.seq)
				st.bytes += int64(rec.size)
				if !c.Tally.seen[k].Has(rec.seq) {
					name := strings.TrimPrefix(string(rec.subject), k.Prefix())
					unknown = append(unknown, Adoptee{k, rec.seq, rec.time / 1e6, len(rec.payload), name})
				}
			}
		})
		if end < len(buf) {
			d := damage{blk.file, end, len(buf) - end}
			if c.closed != nil {
				damaged = append(damaged, d)
			} else {
				c.Torn = append(c.Torn, d)
			}
			st.repair = append(st.repair, blk)
		} else if len(damaged) > 0 {
			st.repair = append(st.repair, blk)
		}
		for _, d := range damaged {
			d.File = blk.file
			st.Damaged = append(st.Damaged, d)
			if k == subject.Ack {
				c.setBack.read(buf[d.Offset : d.Offset+d.Bytes])
			}
		}
	}
	st.Live.removeAll(st.removed)
	for _, a := range unknown {
		h := HashName(k, a.Name)
		switch b := c.Tally.Boxes[h]; {
		case !st.Live.Has(a.Offset):
		case b != nil && a.Offset <= b.purged:
			c.purgeAgain(k, a.Name, b.purged)
		case a.Offset > c.Tally.covers[k]:
			c.adopted[h] = append(c.adopted[h], a)
		}
	}
	return nil
}

func (c *Check) readPosition(rec record) {
	name := strings.TrimPrefix(string(rec.subject), subject.Ack.Prefix())
	h := HashName(subject.Ack, name)
	p := c.Stored[h]
	if _, ok := c.Tally.Positions[h]; !ok {
		c.Strays[name] = rec.time / 1e6
	}
	if offset, err := strconv.ParseUint(string(rec.payload), 10, 64); err == nil {
		k := subject.Inbox
		if strings.Contains(name, ".") {
			k = subject.Topic
		}
		c.maxAck[k] = max(c.maxAck[k], offset)
		p.Offset = max(p.Offset, offset)
	}
	p.Seq = max(p.Seq, rec.seq)
	c.Stored[h] = p
}

func (c *Check) purgeAgain(k subject.Kind, name string, upTo uint64) {
	b := subject.Named(k, name)
	c.Purged[b] = max(c.Purged[b], upTo)
}

func readFile(file string, buf []byte) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if int64(cap(buf)) < info.Size() {
		buf = make([]byte, info.Size())
	}
	buf = buf[:info.Size()]
	n, err := f.ReadAt(buf, 0)
	if n == len(buf) {
		err = nil
	}
	return buf[:n], err
}
