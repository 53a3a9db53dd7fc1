package inbox

import (
	"sync"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
)

// ends has the offset of the last message of each box of an embedded store that removes the
// oldest messages at Config.Disk. When all messages of a box are removed, JetStream knows
// nothing of it any more, and its readers have missed what they had not read.
//
// The zero value remembers nothing. A box takes about 30 bytes.
type ends struct {
	mu   sync.Mutex
	last map[uint64]uint64 // by account.HashName; nil: nothing is remembered. guarded by mu
}

// begin sets what is known when the store is opened.
func (e *ends) begin(last map[uint64]uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = last
}

// stored notes that a message was stored.
func (e *ends) stored(b subject.Box, offset uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != nil {
		h := account.HashName(b.Kind, b.Name())
		e.last[h] = max(e.last[h], offset)
	}
}

// deleted notes that the messages up to an offset were deleted on request, which is not a gap.
func (e *ends) deleted(b subject.Box, upTo uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := account.HashName(b.Kind, b.Name()); e.last[h] <= upTo {
		delete(e.last, h)
	}
}

// of returns the offset of the last message that a box had, 0 if that is not known.
func (e *ends) of(b subject.Box) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == 0 {
		return 0
	}
	return e.last[account.HashName(b.Kind, b.Name())]
}
