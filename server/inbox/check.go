package inbox

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
)

// check is the comparison of the files of an embedded store with its account,
// before a server uses them. It changes nothing.
type check struct {
	dir   string
	now   time.Time
	boot  string // of the machine, empty if unknown
	tally *tally

	streams [kinds]streamCheck
	adopted map[uint64][]adoptee // messages without entry, by box, in order
	maxAck  [2]uint64            // greatest acknowledged offset, by kind
	stored  map[uint64]uint64    // positions, with the sequence of the latest record
	// strays are positions that are stored and not in the account, with their time.
	strays map[string]int64

	closed  *closing // nil: the process was killed
	torn    []damage // incomplete last writes of a process that was killed
	setBack setBack

	loss loss
	// purged are boxes with messages that were removed on request and are there
	// again, with the offset up to which they are.
	purged map[box]uint64
}

// streamCheck is what the block files of a stream hold.
type streamCheck struct {
	exists  bool
	live    seqSet
	removed seqSet // there is a tombstone
	bytes   int64
	last    uint64 // greatest sequence, of a message or tombstone
	damaged []damage
	repair  []block // that have damaged parts, or end within a record
}

// adoptee is a stored message that the account does not know: its append was under
// way when the process ended.
type adoptee struct {
	kind   kind
	offset uint64
	ms     int64
	size   int
	name   string
}

// inspect reads all files.
func inspect(ctx context.Context, dir, boot string, now time.Time) (*check, error) {
	c := &check{dir: dir, now: now, boot: boot, adopted: make(map[uint64][]adoptee), stored: make(map[uint64]uint64),
		strays: make(map[string]int64), purged: make(map[box]uint64), loss: loss{boxes: make(map[box]*boxLoss)}}
	var err error
	if c.tally, err = readTally(accountFile(dir), -1); err != nil {
		return nil, err
	}
	if err := c.compareEnd(); err != nil {
		return nil, err
	}
	for k := range kinds {
		if err := c.readStream(ctx, k); err != nil {
			return nil, err
		}
	}
	for _, list := range c.adopted {
		slices.SortFunc(list, func(a, b adoptee) int { return cmp.Compare(a.offset, b.offset) })
		c.tally.box(list[0].kind, []byte(list[0].name)).total += uint32(len(list))
	}
	switch {
	case len(c.tally.damaged) > 0:
		c.loss.unknown = fmt.Sprintf("the account of what was stored is damaged (%v)", c.tally.damaged[0])
	case c.tally.valid < 0 && fileExists(witnessFile(dir)): // of a version without an account
	case c.tally.valid < 0 && c.hasMessages():
		c.loss.unknown = "the account of what was stored, " + accountFile(dir) + ", is missing"
	case c.tally.valid < 0 && used(dir):
		c.loss.unknown = "the account of what was stored, " + accountFile(dir) + ", and all messages are missing"
		for k := range c.tally.last { // offsets that were assigned are not assigned again
			c.tally.last[k] = firstOfNewStream(now, 0)
		}
	case c.tally.valid >= 0 && !c.tally.limited:
		if c.hasMessages() {
			c.loss.unknown = "the account of what was stored, " + accountFile(dir) + ", is cut"
		}
	}
	return c, c.compare()
}

// witnessFile is what versions without an account wrote instead.
func witnessFile(dir string) string { return filepath.Join(dir, "witness.json") }

func fileExists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// hasMessages reports whether a server has used the directory.
func (c *check) hasMessages() bool {
	return c.streams[inboxKind].exists || c.streams[topicKind].exists || c.streams[ackKind].exists
}

// readStream reads the blocks of a stream.
func (c *check) readStream(ctx context.Context, k kind) error {
	st := &c.streams[k]
	st.live, st.removed = make(seqSet), make(seqSet)
	blocks, msgs, err := blockFiles(c.dir, k)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(msgs)); err == nil {
		st.exists = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var unknown []adoptee
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
				st.removed.add(rec.seq)
			case k == ackKind:
				c.readPosition(rec)
			default:
				st.live.add(rec.seq)
				st.bytes += int64(rec.size)
				if !c.tally.seen[k].has(rec.seq) {
					name := strings.TrimPrefix(string(rec.subject), prefixes[k])
					unknown = append(unknown, adoptee{k, rec.seq, rec.time / 1e6, len(rec.payload), name})
				}
			}
		})
		if end < len(buf) {
			d := damage{blk.file, end, len(buf) - end}
			if c.closed != nil {
				damaged = append(damaged, d)
			} else {
				c.torn = append(c.torn, d)
			}
			st.repair = append(st.repair, blk)
		} else if len(damaged) > 0 {
			st.repair = append(st.repair, blk)
		}
		for _, d := range damaged {
			d.file = blk.file
			st.damaged = append(st.damaged, d)
			if k == ackKind {
				c.setBack.read(buf[d.offset : d.offset+d.bytes])
			}
		}
	}
	st.live.removeAll(st.removed)
	for _, a := range unknown {
		h := hashName(k, a.name)
		switch b := c.tally.boxes[h]; {
		case !st.live.has(a.offset):
		case b != nil && a.offset <= b.purged:
			c.purgeAgain(k, a.name, b.purged)
		case a.offset > c.tally.covers[k]:
			c.adopted[h] = append(c.adopted[h], a)
		}
	}
	return nil
}

func (c *check) readPosition(rec record) {
	name := strings.TrimPrefix(string(rec.subject), prefixes[ackKind])
	h := hashName(ackKind, name)
	c.stored[h] = max(c.stored[h], rec.seq)
	if _, ok := c.tally.positions[h]; !ok {
		c.strays[name] = rec.time / 1e6
	}
	if offset, err := strconv.ParseUint(string(rec.payload), 10, 64); err == nil {
		k := inboxKind
		if strings.Contains(name, ".") {
			k = topicKind
		}
		c.maxAck[k] = max(c.maxAck[k], offset)
	}
}

func (c *check) purgeAgain(k kind, name string, upTo uint64) {
	b := boxNamed(k, name)
	c.purged[b] = max(c.purged[b], upTo)
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
