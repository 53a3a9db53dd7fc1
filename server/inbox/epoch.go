package inbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// history records which offsets of a stream were assigned, and in which epoch.
//
// An embedded store begins an epoch each time it is opened, and its account lists
// them with the last offset before each. A copy of the directory, opened, has the
// list up to when the copy was made, and so it knows neither the epochs that the
// original began later, nor the offsets that the last common one assigned later.
//
// With an outside NATS the epoch is in the metadata of the stream: see learn.
type history struct {
	last atomic.Uint64 // greatest offset seen

	mu     sync.Mutex
	id     string          // of the present epoch; guarded by mu
	given  string          // the last epoch that this process gave to the stream; guarded by mu
	epochs []account.Epoch // of an embedded store, the present one last; guarded by mu
}

func newEpochID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (h *history) saw(offset uint64) {
	for {
		last := h.last.Load()
		if offset <= last || h.last.CompareAndSwap(last, offset) {
			return
		}
	}
}

func (h *history) epoch() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}

// begin sets the epochs of an embedded store.
func (h *history) begin(epochs []account.Epoch, last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs, h.id = epochs, epochs[len(epochs)-1].ID
	h.last.Store(last)
}

// covered returns the last offset that an epoch of an embedded store assigned,
// whether it is known at all, and whether it is the present one.
func (h *history) covered(k subject.Kind, id string) (last uint64, known, present bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, e := range h.epochs {
		switch {
		case e.ID != id:
		case i == len(h.epochs)-1:
			return h.last.Load(), true, true
		default:
			return h.epochs[i+1].Began[k], true, false
		}
	}
	return 0, false, false
}

// Epoch names the history that offsets of a box belong to.
func (s *Store) Epoch(b store.Box) string {
	if s.usable() != nil {
		return ""
	}
	return s.history[kindOf(b)].epoch()
}

// Continues reports whether an offset that was handed out together with an epoch
// denotes the same message in the present history.
func (s *Store) Continues(ctx context.Context, b store.Box, epoch string, offset uint64) (bool, error) {
	if err := s.usable(); err != nil {
		return false, err
	}
	k := kindOf(b)
	h := &s.history[k]
	last, known, present := h.last.Load(), epoch == h.epoch(), true
	if s.local != nil {
		last, known, present = h.covered(k, epoch)
	}
	if !known || offset <= last || !present {
		return known && offset <= last, nil
	}
	// Another node, or an append that failed, may have stored what was not seen.
	ctx, cancel := s.within(ctx)
	defer cancel()
	st, err := s.state(ctx, k)
	if err == nil && offset > st.Last {
		st.Last, err = s.confirmLast(ctx, k, st.Last)
	}
	if err != nil {
		return false, err
	}
	h.saw(st.Last)
	return offset <= st.Last && h.epoch() == epoch, nil
}

func kindOf(b store.Box) subject.Kind {
	if b.Topic != "" {
		return subject.Topic
	}
	return subject.Inbox
}

// keptEpochs bounds the list of an embedded store.
const keptEpochs = 10_000

// nextEpochs returns the list of epochs with a new one at the end.
func (e *embedded) nextEpochs(c *account.Check, began [2]uint64) []account.Epoch {
	list := c.Tally.Epochs
	if c.Loss.Unknown != "" {
		list = nil // offsets may have been assigned that the account does not show
	}
	if n := len(list) - keptEpochs; n > 0 {
		list = list[n:]
	}
	return append(list[:len(list):len(list)], account.Epoch{ID: newEpochID(), Ms: c.Now.UnixMilli(), Boot: e.boot, Began: began})
}

func (h *history) list() []account.Epoch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epochs
}
