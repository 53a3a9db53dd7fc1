package account

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fanfare/server/inbox/internal/subject"
)

// Account is the file that says, beside the files of the embedded server, what was
// accepted: the offset and box of each message, before the append returns; what
// is removed on request, before it is removed; and the epochs. At the next start the
// messages are compared with it: see Check.
//
// The file is a sequence of frames:
//
//	length(4) CRC-32C(4) entries
//
// in little endian. An entry begins with a byte that says what it is, followed by
// its numbers as uvarints and its name. Entries are only appended; a compaction
// replaces the file by a shorter one.
type Account struct {
	File  string
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

	water *os.File  // the lock file; nil: no epoch was begun. guarded by mu
	epoch string    // the last one. guarded by mu
	last  [2]uint64 // greatest offset with an entry, by kind; guarded by mu
}

const (
	entryInbox    = 'i' // offset, ms, size, name
	entryTopic    = 't' // offset, ms, size, name
	entryPurge    = 'x' // kind, offset, ms, name: messages up to the offset are removed
	EntryPosition = 'p' // ms, name: a position is stored
	entryEpoch    = 'e' // ms, last offset of inboxes and of topics before it, id, boot
	entryMark     = 'm' // ms, first and last offset of inboxes, of topics, lag
	EntryLimits   = 'l' // messages, age in ms, disk, drop-oldest, flush
	entryCovers   = 'c' // offset of inboxes, of topics: all that is alive up to there follows
)

const (
	frameHeader = 8
	// frameSize is where a frame ends when many entries are written at once.
	frameSize = 64 << 10
	maxFrame  = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// File returns the path of the account in a directory.
func File(dir string) string { return filepath.Join(dir, "account.log") }

// New returns the account of a directory, for Open. With flush each entry is on the
// disk before the method that adds it returns.
func New(dir string, flush bool) *Account {
	a := &Account{File: File(dir), flush: flush}
	a.wake.L = &a.mu
	return a
}

// Open opens the file, of which the first size bytes are valid, to add entries.
func (a *Account) Open(size int64) error {
	f, err := os.OpenFile(a.File, os.O_RDWR|os.O_CREATE, 0o600)
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

// Close closes the file; entries cannot be added afterwards.
func (a *Account) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		a.f.Close()
		a.f = nil
	}
	if a.water != nil {
		a.water.Close()
		a.water = nil
	}
}

// Message adds a stored message, and returns when the entry is written.
func (a *Account) Message(k subject.Kind, offset uint64, at time.Time, size int, name string) error {
	a.mu.Lock()
	a.last[k] = max(a.last[k], offset)
	a.pending = appendMessage(a.pending, k, offset, at.UnixMilli(), size, name)
	return a.writeUnlock()
}

// Purge records that messages of a box are about to be removed, and returns when the
// record is on disk.
func (a *Account) Purge(b subject.Box, upTo uint64, at time.Time) error {
	a.mu.Lock()
	a.pending = appendPurge(a.pending, b.Kind, upTo, at.UnixMilli(), b.Name())
	if err := a.writeUnlock(); err != nil {
		return err
	}
	// A power cut must not take it and leave the removal.
	_, err := a.Sync()
	return err
}

// Position adds the name of a stored position.
func (a *Account) Position(name string, at time.Time) error {
	a.mu.Lock()
	a.pending = appendPosition(a.pending, at.UnixMilli(), name)
	return a.writeUnlock()
}

// Mark records the first and last offsets of the streams, and how much of the account is on
// the disk together with its messages.
func (a *Account) Mark(m Mark) error {
	a.mu.Lock()
	for a.writing {
		a.wake.Wait() // the frame of the mark begins where the file ends
	}
	m.lag = uint64(a.size - a.durable)
	a.pending = appendMark(a.pending, m)
	water := a.water
	if err := a.writeUnlock(); err != nil || water == nil {
		return err
	}
	return water.Sync()
}

// Raw adds encoded entries, and writes those that are still pending after an error.
func (a *Account) Raw(entries []byte) error {
	a.mu.Lock()
	a.pending = append(a.pending, entries...)
	return a.writeUnlock()
}

// writeUnlock writes what is pending, or waits until another goroutine has: one
// write serves all that came meanwhile. After an error the entries stay pending,
// and the next call writes them.
func (a *Account) writeUnlock() error {
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
		water := a.waterLocked(at + int64(len(a.spare)))
		a.mu.Unlock()
		err := writeFrame(f, a.spare, at, a.flush)
		if err == nil {
			water()
		}
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

// Sync flushes the file and returns how much of it is on the disk.
func (a *Account) Sync() (size int64, err error) {
	a.mu.Lock()
	f, size := a.f, a.size
	a.mu.Unlock()
	if f == nil {
		return 0, os.ErrClosed
	}
	return size, f.Sync()
}

// SetDurable notes that the first size bytes, and what they say is stored, are on the
// disk.
func (a *Account) SetDurable(size int64) {
	a.mu.Lock()
	a.durable = max(a.durable, size)
	a.mu.Unlock()
}

// Sizes returns the length of the file, and how much of it is on the disk, in bytes.
func (a *Account) Sizes() (size, durable int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size, a.durable
}

func appendFrame(b, entries []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(entries, castagnoli))
	return append(b, entries...)
}

// frameContent returns what appendFrame was given for b. It returns false if b is not one
// whole frame, or damaged.
func frameContent(b []byte) (entries []byte, ok bool) {
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != uint32(len(b)-frameHeader) {
		return nil, false
	}
	entries = b[frameHeader:]
	return entries, crc32.Checksum(entries, castagnoli) == binary.LittleEndian.Uint32(b[4:])
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

func appendMessage(b []byte, k subject.Kind, offset uint64, ms int64, size int, name string) []byte {
	what := byte(entryInbox)
	if k == subject.Topic {
		what = entryTopic
	}
	b = binary.AppendUvarint(append(b, what), offset)
	b = binary.AppendUvarint(b, uint64(ms))
	b = binary.AppendUvarint(b, uint64(size))
	return appendName(b, name)
}

func appendPurge(b []byte, k subject.Kind, upTo uint64, ms int64, name string) []byte {
	return appendName(appendUvarints(append(b, entryPurge), uint64(k), upTo, uint64(ms)), name)
}

func appendPosition(b []byte, ms int64, name string) []byte {
	return appendName(binary.AppendUvarint(append(b, EntryPosition), uint64(ms)), name)
}

// Mark is an entry that says where the streams begin and end.
type Mark struct {
	Ms          int64
	First, Last [2]uint64 // by kind
	lag         uint64    // bytes before the mark's frame that may not be on the disk
}

func appendMark(b []byte, m Mark) []byte {
	return appendUvarints(append(b, entryMark), uint64(m.Ms), m.First[subject.Inbox], m.Last[subject.Inbox],
		m.First[subject.Topic], m.Last[subject.Topic], m.lag)
}

// Limits is an entry with the limits in force while the following ones were written.
type Limits struct {
	Messages   uint64
	Age        time.Duration
	Disk       uint64
	DropOldest bool
	Flush      bool
}

// AppendLimits appends an entry, for Raw.
func AppendLimits(b []byte, l Limits) []byte {
	bit := func(v bool) uint64 {
		if v {
			return 1
		}
		return 0
	}
	return appendUvarints(append(b, EntryLimits), l.Messages, uint64(l.Age.Milliseconds()), l.Disk, bit(l.DropOldest), bit(l.Flush))
}

// Epoch is an entry that begins each time when the directory is opened.
type Epoch struct {
	ID    string
	Ms    int64
	Boot  string    // of the machine
	Began [2]uint64 // last offset before it, by kind
}

// AppendEpoch appends an entry, for Raw.
func AppendEpoch(b []byte, e Epoch) []byte {
	b = appendUvarints(append(b, entryEpoch), uint64(e.Ms), e.Began[subject.Inbox], e.Began[subject.Topic])
	return appendName(appendName(b, e.ID), e.Boot)
}

func appendCovers(b []byte, covers [2]uint64) []byte {
	return appendUvarints(append(b, entryCovers), covers[subject.Inbox], covers[subject.Topic])
}
