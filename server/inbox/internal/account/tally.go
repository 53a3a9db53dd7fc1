package account

import (
	"hash/maphash"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// tally summarizes the account: it is enough to decide, for each message, whether it
// must still be stored.
type tally struct {
	Valid   int64    // bytes of the file; -1: the file does not exist
	damaged []damage // of the file

	Limits   Limits // the strictest of all that were in force
	Limited  bool   // limits is set
	Epochs   []Epoch
	covers   [2]uint64
	last     [2]uint64 // greatest offset, by kind
	marks    [2]uint64 // last offsets in the last mark, by kind
	settled  [2]uint64 // and in the one before: all up to there had entries at the last mark
	First    [2]uint64 // all before was removed, by kind
	Durable  int64     // all before this frame is on the disk
	marked   int64     // frame of the last mark
	ms       int64     // latest time
	Messages int       // entries

	Boxes     map[uint64]*boxTally
	Positions map[uint64]int64 // time of the latest entry
	seen      [2]seqSet        // offsets with an entry
}

// boxTally summarizes one box.
type boxTally struct {
	total  uint32 // entries
	passed uint32 // entries that were looked at in a second pass
	purged uint64 // all up to this offset was removed
	last   uint64 // greatest offset
	ms     int64  // its time
}

// ends notes a message, which may be the last.
func (b *boxTally) ends(offset uint64, ms int64) {
	if offset > b.last {
		b.last, b.ms = offset, ms
	}
}

var hashSeed = maphash.MakeSeed()

// HashName hashes the name of a box or, for subject.Ack, of a position.
func HashName[T string | []byte](k subject.Kind, name T) uint64 {
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

// HashPosition returns HashName of subject.PositionName, without an allocation.
func HashPosition(b store.Box, user string) uint64 {
	if b.Topic == "" {
		return HashName(subject.Ack, subject.Token(b.User))
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	h.WriteByte(byte(subject.Ack))
	h.WriteString(subject.Token(user))
	h.WriteByte('.')
	h.WriteString(subject.Token(b.Topic))
	return h.Sum64()
}

// ReadTally reads the account, or the first limit bytes of it if limit is not negative.
func ReadTally(file string, limit int64) (*tally, error) {
	t := &tally{Boxes: make(map[uint64]*boxTally), Positions: make(map[uint64]int64)}
	for k := range t.seen {
		t.seen[k] = make(seqSet)
	}
	valid, damaged, err := Read(file, limit, t.Add)
	t.Valid, t.damaged = valid, damaged
	return t, err
}

// Add takes an entry into account.
func (t *tally) Add(e *Entry) {
	switch e.What {
	case entryInbox, entryTopic:
		if t.seen[e.kind].Has(e.offset) {
			return
		}
		t.seen[e.kind].Add(e.offset)
		b := t.box(e.kind, e.Name)
		b.total++
		b.ends(e.offset, e.ms)
		t.Messages++
		t.last[e.kind] = max(t.last[e.kind], e.offset)
	case entryPurge:
		b := t.box(e.kind, e.Name)
		b.purged = max(b.purged, e.offset)
	case EntryPosition:
		h := HashName(subject.Ack, e.Name)
		t.Positions[h] = max(t.Positions[h], e.ms)
	case entryEpoch:
		t.Epochs = append(t.Epochs, e.epoch)
		t.ms = max(t.ms, e.epoch.Ms)
	case entryMark:
		t.marked = e.frame
		t.settled, t.marks = t.marks, e.mark.Last
		t.Durable = max(t.Durable, e.frame-int64(e.mark.lag))
		for k := range t.First {
			t.First[k] = max(t.First[k], e.mark.First[k])
			t.last[k] = max(t.last[k], e.mark.Last[k])
		}
	case EntryLimits:
		if l := e.Limits; t.Limited {
			t.Limits.Messages = min(t.Limits.Messages, l.Messages)
			t.Limits.Age = min(t.Limits.Age, l.Age)
			t.Limits.Disk = min(t.Limits.Disk, l.Disk)
			t.Limits.DropOldest = t.Limits.DropOldest || l.DropOldest
			t.Limits.Flush = l.Flush
		} else {
			t.Limits, t.Limited = l, true
		}
	case entryCovers:
		t.covers = e.covers
	}
	t.ms = max(t.ms, e.ms, e.mark.Ms)
}

func (t *tally) box(k subject.Kind, name []byte) *boxTally {
	h := HashName(k, name)
	b := t.Boxes[h]
	if b == nil {
		b = new(boxTally)
		t.Boxes[h] = b
	}
	return b
}

// expirySlack is how much earlier than this clock says a message may expire: its
// time is that of JetStream, taken before ours.
const expirySlack = 2 * time.Second

// removed reports whether a message may have been removed lawfully. It is called
// once for each in the order of its box.
func (t *tally) removed(k subject.Kind, b *boxTally, offset uint64, ms int64, now time.Time) bool {
	b.passed++
	latest := max(t.ms, now.UnixMilli())
	return offset <= b.purged ||
		uint64(b.total-b.passed) >= t.Limits.Messages ||
		ms+t.Limits.Age.Milliseconds() <= latest+expirySlack.Milliseconds() ||
		offset < t.First[k]
}

// end reports whether a message was the last of its box, and was not removed on request. Its
// entry stays until the box is forgotten.
func (t *tally) end(b *boxTally, offset uint64, ms int64, now time.Time) bool {
	return offset == b.last && offset > b.purged && !t.forgotten(ms, now)
}

// forgotten reports whether a box is forgotten whose last message was stored at ms.
func (t *tally) forgotten(ms int64, now time.Time) bool {
	return ms+Remembered(t.Limits.Age).Milliseconds() <= now.UnixMilli()
}

// Remembered returns for how long the end of a box is remembered whose messages may have such an
// age: the same time as a position.
func Remembered(age time.Duration) time.Duration { return 2*age + time.Hour }

// rewind allows another pass.
func (t *tally) rewind() {
	for _, b := range t.Boxes {
		b.passed = 0
	}
}

// positionExpired reports whether a position may have expired. A position
// expires after twice the age of messages, since its last change.
func (t *tally) positionExpired(ms int64, now time.Time) bool {
	return ms+2*t.Limits.Age.Milliseconds() <= max(t.ms, now.UnixMilli())
}
