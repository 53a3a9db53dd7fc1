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

	"fanfare/server/store"
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
	stored  map[uint64]bool      // positions
	// strays are positions that are stored and not in the account, with their time.
	strays map[string]int64

	loss loss
	// purged are boxes with messages that were removed on request and are there
	// again, with the offset up to which they are.
	purged map[box]uint64
}

// streamCheck is what the block files of a stream hold.
type streamCheck struct {
	exists  bool
	live    seqSet
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

// loss is what is missing.
type loss struct {
	boxes     map[box]*boxLoss
	messages  int
	newest    time.Time
	positions []string
	// power is the part of messages that a power cut may have cost, according to
	// Config.Sync.
	power int
	// unknown says why it cannot be told what is missing; empty: it can.
	unknown string
}

type boxLoss struct {
	last uint64 // greatest offset of a missing message
}

// inspect reads all files.
func inspect(ctx context.Context, dir, boot string, now time.Time) (*check, error) {
	c := &check{dir: dir, now: now, boot: boot, adopted: make(map[uint64][]adoptee), stored: make(map[uint64]bool),
		strays: make(map[string]int64), purged: make(map[box]uint64), loss: loss{boxes: make(map[box]*boxLoss)}}
	var err error
	if c.tally, err = readTally(accountFile(dir), -1); err != nil {
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
	st.live = make(seqSet)
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
	var removed []uint64
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
				removed = append(removed, rec.seq)
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
		for _, d := range damaged {
			d.file = blk.file
			st.damaged = append(st.damaged, d)
		}
		if len(damaged) > 0 || end < len(buf) {
			st.repair = append(st.repair, blk)
		}
	}
	for _, seq := range removed {
		st.live.remove(seq)
	}
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
	c.stored[h] = true
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
		case removed, c.streams[k].live.has(e.offset):
			return
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

// each calls f for each message that was accepted, those that are adopted among
// them, in the order of each box. removed tells whether it may have been removed
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
		if !c.stored[h] && !c.tally.positionExpired(ms, c.now) {
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

// tolerable reports whether nothing is missing, or what a power cut may cost.
func (l *loss) tolerable() bool {
	return l.unknown == "" && l.messages == l.power && (len(l.positions) == 0 || l.power > 0)
}

// in reports whether something of a stream is missing.
func (l *loss) in(k kind) bool {
	if l.unknown != "" || k == ackKind && len(l.positions) > 0 {
		return true
	}
	for b := range l.boxes {
		if b.kind == k {
			return true
		}
	}
	return false
}

func (l *loss) nothing() bool {
	return l.unknown == "" && l.messages == 0 && len(l.positions) == 0
}

// describe says what is missing.
func (l *loss) describe() string {
	var parts []string
	if l.messages > 0 {
		var n [2]int
		for b := range l.boxes {
			n[b.kind]++
		}
		var of []string
		if n[inboxKind] > 0 {
			of = append(of, count(n[inboxKind], "user"))
		}
		if n[topicKind] > 0 {
			of = append(of, count(n[topicKind], "topic"))
		}
		verb := "are"
		if l.messages == 1 {
			verb = "is"
		}
		parts = append(parts, fmt.Sprintf("%s of %s %s missing, the newest stored at %s",
			count(l.messages, "message"), strings.Join(of, " and "), verb, l.newest.Format(time.RFC3339)))
	}
	if len(l.positions) > 0 {
		users := make(map[string]bool)
		for _, name := range l.positions {
			user, _, _ := strings.Cut(name, ".")
			users[user] = true
		}
		parts = append(parts, fmt.Sprintf("%s of %s missing",
			count(len(l.positions), "acknowledged position"), count(len(users), "user")))
	}
	if l.unknown != "" {
		parts = append(parts, l.unknown+", so that it cannot be told whether messages are missing, and for whom")
	}
	return strings.Join(parts, "; ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// err is what Open returns unless the loss is accepted.
func (c *check) err() error {
	var files []string
	for k := range c.streams {
		for _, d := range c.streams[k].damaged {
			files = append(files, d.String())
		}
	}
	damaged := ""
	if len(files) > 0 {
		damaged = fmt.Sprintf(" (%d damaged parts of files, the first: %s)", len(files), files[0])
	}
	return fmt.Errorf("%w: %s%s; restore %s from a backup, or set AcceptLoss to go on without what is missing",
		store.ErrDamaged, c.loss.describe(), damaged, c.dir)
}
