package inbox

import (
	"hash/maphash"
	"time"

	"fanfare/server/store"
)

// tally is what the account says, in numbers: enough to decide for each message
// whether it must still be there.
type tally struct {
	valid   int64    // bytes of the file; -1: the file does not exist
	damaged []damage // of the file

	limits   limits // the strictest of all that were in force
	limited  bool   // limits is set
	epochs   []epoch
	covers   [2]uint64
	last     [2]uint64 // greatest offset, by kind
	first    [2]uint64 // all before was removed, by kind
	durable  int64     // all before this frame is on the disk
	marked   int64     // frame of the last mark
	ms       int64     // latest time
	messages int       // entries

	boxes     map[uint64]*boxTally
	positions map[uint64]int64 // time of the latest entry
	seen      [2]seqSet        // offsets with an entry
}

// boxTally is about one box.
type boxTally struct {
	total  uint32 // entries
	passed uint32 // entries that were looked at in a second pass
	purged uint64 // all up to this offset was removed
}

var hashSeed = maphash.MakeSeed()

// hashName hashes the name of a box or, for ackKind, of a position.
func hashName[T string | []byte](k kind, name T) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteByte(byte(k))
	for i := 0; i < len(name); { // without a conversion, which would allocate
		var part [32]byte
		n := copy(part[:], name[i:])
		h.Write(part[:n])
		i += n
	}
	return h.Sum64()
}

// hashPosition is hashName of positionName.
func hashPosition(b store.Box, user string) uint64 {
	if b.Topic == "" {
		return hashName(ackKind, token(b.User))
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteByte(byte(ackKind))
	h.WriteString(token(user))
	h.WriteByte('.')
	h.WriteString(token(b.Topic))
	return h.Sum64()
}

// readTally reads the account.
func readTally(file string, limit int64) (*tally, error) {
	t := &tally{boxes: make(map[uint64]*boxTally), positions: make(map[uint64]int64)}
	for k := range t.seen {
		t.seen[k] = make(seqSet)
	}
	valid, damaged, err := readAccount(file, limit, t.add)
	t.valid, t.damaged = valid, damaged
	return t, err
}

func (t *tally) add(e *entry) {
	switch e.what {
	case entryInbox, entryTopic:
		if t.seen[e.kind].has(e.offset) {
			return
		}
		t.seen[e.kind].add(e.offset)
		t.box(e.kind, e.name).total++
		t.messages++
		t.last[e.kind] = max(t.last[e.kind], e.offset)
	case entryPurge:
		b := t.box(e.kind, e.name)
		b.purged = max(b.purged, e.offset)
	case entryPosition:
		h := hashName(ackKind, e.name)
		t.positions[h] = max(t.positions[h], e.ms)
	case entryEpoch:
		t.epochs = append(t.epochs, e.epoch)
		t.ms = max(t.ms, e.epoch.ms)
	case entryMark:
		t.marked = e.frame
		t.durable = max(t.durable, e.frame-int64(e.mark.lag))
		for k := range t.first {
			t.first[k] = max(t.first[k], e.mark.first[k])
			t.last[k] = max(t.last[k], e.mark.last[k])
		}
	case entryLimits:
		if l := e.limits; t.limited {
			t.limits.messages = min(t.limits.messages, l.messages)
			t.limits.age = min(t.limits.age, l.age)
			t.limits.disk = min(t.limits.disk, l.disk)
			t.limits.dropOldest = t.limits.dropOldest || l.dropOldest
			t.limits.flush = l.flush
		} else {
			t.limits, t.limited = l, true
		}
	case entryCovers:
		t.covers = e.covers
	}
	t.ms = max(t.ms, e.ms, e.mark.ms)
}

func (t *tally) box(k kind, name []byte) *boxTally {
	h := hashName(k, name)
	b := t.boxes[h]
	if b == nil {
		b = new(boxTally)
		t.boxes[h] = b
	}
	return b
}

// expirySlack is how much earlier than this clock says a message may expire: its
// time is that of JetStream, taken before ours.
const expirySlack = 2 * time.Second

// removed reports whether a message may have been removed lawfully. It is called
// once for each in the order of its box.
func (t *tally) removed(k kind, b *boxTally, offset uint64, ms int64, now time.Time) bool {
	b.passed++
	latest := max(t.ms, now.UnixMilli())
	return offset <= b.purged ||
		uint64(b.total-b.passed) >= t.limits.messages ||
		ms+t.limits.age.Milliseconds() <= latest+expirySlack.Milliseconds() ||
		offset < t.first[k]
}

// rewind allows another pass.
func (t *tally) rewind() {
	for _, b := range t.boxes {
		b.passed = 0
	}
}

// positionExpired reports whether a position may have expired. A position
// expires after twice the age of messages, since its last change.
func (t *tally) positionExpired(ms int64, now time.Time) bool {
	return ms+2*t.limits.age.Milliseconds() <= max(t.ms, now.UnixMilli())
}
