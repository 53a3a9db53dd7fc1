package inbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// account is the file that says, beside the files of the embedded server, what was
// accepted: the offset and box of each message, before the append returns; what
// was removed on request, before it is; and the epochs. At the next start the
// messages are compared with it: see check.
//
// The file is a sequence of frames:
//
//	length(4) CRC-32C(4) entries
//
// in little endian. An entry begins with a byte that says what it is, followed by
// its numbers as uvarints and its name. Entries are only appended; a compaction
// replaces the file by a shorter one.
type account struct {
	file  string
	flush bool // each write, before add returns

	mu      sync.Mutex
	wake    sync.Cond
	f       *os.File // guarded by mu
	size    int64    // of the valid frames; guarded by mu
	durable int64    // how much of it is known to be on the disk, with the messages; guarded by mu
	pending []byte   // entries not yet written; guarded by mu
	spare   []byte   // owned by the writer
	added   uint64   // batches; guarded by mu
	written uint64   // batches; guarded by mu
	writing bool     // guarded by mu
}

const (
	entryInbox    = 'i' // offset, ms, size, name
	entryTopic    = 't' // offset, ms, size, name
	entryPurge    = 'x' // kind, offset, ms, name: messages up to the offset are removed
	entryPosition = 'p' // ms, name: a position is stored
	entryEpoch    = 'e' // ms, last offset of inboxes and of topics before it, id, boot
	entryMark     = 'm' // ms, first and last offset of inboxes, of topics, lag
	entryLimits   = 'l' // messages, age in ms, disk, drop-oldest, flush
	entryCovers   = 'c' // offset of inboxes, of topics: all that is alive up to there follows
)

const (
	frameHeader = 8
	// frameSize is where a frame ends when many entries are written at once.
	frameSize = 64 << 10
	maxFrame  = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func accountFile(dir string) string { return filepath.Join(dir, "account.log") }

func newAccount(dir string, flush bool) *account {
	a := &account{file: accountFile(dir), flush: flush}
	a.wake.L = &a.mu
	return a
}

// open continues a file of so many valid bytes.
func (a *account) open(size int64) error {
	f, err := os.OpenFile(a.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// An incomplete frame at the end was never reported as written.
	if err := f.Truncate(size); err != nil {
		f.Close()
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		a.f.Close()
	}
	a.f, a.size, a.durable = f, size, size
	return nil
}

func (a *account) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		a.f.Close()
		a.f = nil
	}
}

// message adds one that is stored, and returns when the account has it.
func (a *account) message(k kind, offset uint64, at time.Time, size int, name string) error {
	a.mu.Lock()
	a.pending = appendMessage(a.pending, k, offset, at.UnixMilli(), size, name)
	return a.writeUnlock()
}

// purge adds that messages of a box are going to be removed, and returns when that is
// on the disk.
func (a *account) purge(b box, upTo uint64, at time.Time) error {
	a.mu.Lock()
	a.pending = appendPurge(a.pending, b.kind, upTo, at.UnixMilli(), b.name())
	if err := a.writeUnlock(); err != nil {
		return err
	}
	// A power cut must not take it and leave the removal.
	_, err := a.sync()
	return err
}

// position adds that one is stored.
func (a *account) position(name string, at time.Time) error {
	a.mu.Lock()
	a.pending = appendPosition(a.pending, at.UnixMilli(), name)
	return a.writeUnlock()
}

// mark adds where the streams begin and end, and how much of the account is on the
// disk together with its messages.
func (a *account) mark(m mark) error {
	a.mu.Lock()
	for a.writing {
		a.wake.Wait() // the frame of the mark begins where the file ends
	}
	m.lag = uint64(a.size - a.durable)
	a.pending = appendMark(a.pending, m)
	return a.writeUnlock()
}

// raw adds entries that are encoded already.
func (a *account) raw(entries []byte) error {
	a.mu.Lock()
	a.pending = append(a.pending, entries...)
	return a.writeUnlock()
}

// writeUnlock writes what is pending, or waits until another goroutine has: one
// write serves all that came meanwhile. After an error the entries stay pending,
// and the next call writes them.
func (a *account) writeUnlock() error {
	defer a.mu.Unlock()
	a.added++
	mine := a.added
	for a.written < mine {
		if a.writing {
			a.wake.Wait()
			continue
		}
		if a.f == nil {
			return os.ErrClosed
		}
		if len(a.pending) == 0 { // an empty frame would be taken for damage
			a.written = a.added
			return nil
		}
		a.writing = true
		upTo, entries, f, at := a.added, len(a.pending), a.f, a.size
		a.spare = appendFrame(a.spare[:0], a.pending)
		a.mu.Unlock()
		err := writeFrame(f, a.spare, at, a.flush)
		a.mu.Lock()
		a.writing = false
		a.wake.Broadcast()
		if err != nil {
			return fmt.Errorf("account: %w", err)
		}
		a.pending = a.pending[:copy(a.pending, a.pending[entries:])]
		a.written = upTo
		if a.size += int64(len(a.spare)); a.flush {
			a.durable = a.size
		}
	}
	return nil
}

func writeFrame(f *os.File, frame []byte, at int64, flush bool) error {
	if _, err := f.WriteAt(frame, at); err != nil {
		f.Truncate(at) // a partial frame would hide the following ones
		return err
	}
	if flush {
		return f.Sync()
	}
	return nil
}

// sync flushes the file and returns how much of it is on the disk.
func (a *account) sync() (size int64, err error) {
	a.mu.Lock()
	f, size := a.f, a.size
	a.mu.Unlock()
	if f == nil {
		return 0, os.ErrClosed
	}
	return size, f.Sync()
}

func (a *account) setDurable(size int64) {
	a.mu.Lock()
	a.durable = max(a.durable, size)
	a.mu.Unlock()
}

func (a *account) sizes() (size, durable int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size, a.durable
}

func appendFrame(b, entries []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(entries, castagnoli))
	return append(b, entries...)
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}

func appendUvarints(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendMessage(b []byte, k kind, offset uint64, ms int64, size int, name string) []byte {
	what := byte(entryInbox)
	if k == topicKind {
		what = entryTopic
	}
	b = binary.AppendUvarint(append(b, what), offset)
	b = binary.AppendUvarint(b, uint64(ms))
	b = binary.AppendUvarint(b, uint64(size))
	return appendName(b, name)
}

func appendPurge(b []byte, k kind, upTo uint64, ms int64, name string) []byte {
	return appendName(appendUvarints(append(b, entryPurge), uint64(k), upTo, uint64(ms)), name)
}

func appendPosition(b []byte, ms int64, name string) []byte {
	return appendName(binary.AppendUvarint(append(b, entryPosition), uint64(ms)), name)
}

// mark says where the streams begin and end.
type mark struct {
	ms          int64
	first, last [2]uint64 // by kind
	lag         uint64    // bytes before the mark's frame that may not be on the disk
}

func appendMark(b []byte, m mark) []byte {
	return appendUvarints(append(b, entryMark), uint64(m.ms), m.first[inboxKind], m.last[inboxKind],
		m.first[topicKind], m.last[topicKind], m.lag)
}

// limits are those in force while the entries that follow were written.
type limits struct {
	messages   uint64
	age        time.Duration
	disk       uint64
	dropOldest bool
	flush      bool
}

func appendLimits(b []byte, l limits) []byte {
	bit := func(v bool) uint64 {
		if v {
			return 1
		}
		return 0
	}
	return appendUvarints(append(b, entryLimits), l.messages, uint64(l.age.Milliseconds()), l.disk, bit(l.dropOldest), bit(l.flush))
}

// epoch is the time between two opens of a directory.
type epoch struct {
	id    string
	ms    int64
	boot  string    // of the machine
	began [2]uint64 // last offset before it, by kind
}

func appendEpoch(b []byte, e epoch) []byte {
	b = appendUvarints(append(b, entryEpoch), uint64(e.ms), e.began[inboxKind], e.began[topicKind])
	return appendName(appendName(b, e.id), e.boot)
}

func appendCovers(b []byte, covers [2]uint64) []byte {
	return appendUvarints(append(b, entryCovers), covers[inboxKind], covers[topicKind])
}
