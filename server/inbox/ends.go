package inbox

import (
	"sync"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
)

// ends has the offset of the last message of each box of an embedded store. When all messages of
// a box have expired, or were removed at Config.Disk, JetStream knows nothing of it any more, and
// its readers have missed what they had not read. A box is forgotten when a position of the same
// time expires.
//
// The zero value remembers nothing. A box takes about 40 bytes.
type ends struct {
	mu   sync.Mutex
	last map[uint64]account.End // by account.HashName; nil: nothing is remembered. guarded by mu
}

// begin sets what is known when the store is opened.
func (e *ends) begin(last map[uint64]account.End) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = last
}

// stored notes that a message was stored.
func (e *ends) stored(b subject.Box, offset uint64, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != nil {
		h := account.HashName(b.Kind, b.Name())
		if offset > e.last[h].Offset {
			e.last[h] = account.End{Offset: offset, Ms: at.UnixMilli()}
		}
	}
}

// forget drops what ended before a time.
func (e *ends) forget(before time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for h, end := range e.last {
		if end.Ms <= before.UnixMilli() {
			delete(e.last, h)
		}
	}
}

// deleted notes that the messages up to an offset were deleted on request, which is not a gap.
func (e *ends) deleted(b subject.Box, upTo uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := account.HashName(b.Kind, b.Name()); e.last[h].Offset <= upTo {
		delete(e.last, h)
	}
}

// of returns the offset of the last message that a box had, 0 if that is not known, or if it was
// stored at or before a time.
func (e *ends) of(b subject.Box, before time.Time) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == 0 {
		return 0
	}
	end := e.last[account.HashName(b.Kind, b.Name())]
	if end.Ms <= before.UnixMilli() {
		return 0 // forget has not dropped it yet
	}
	return end.Offset
}

// end returns the offset of the last message that a box had, 0 if that is not known. A reader
// without a position may have read a message that is older than every position.
func (s *Store) end(b subject.Box) uint64 { return s.ends.of(b, s.forgotten()) }

// forgotten returns when the last messages of boxes were stored that are forgotten by now.
func (s *Store) forgotten() time.Time { return s.now().Add(-account.Remembered(s.cfg.Age)) }
