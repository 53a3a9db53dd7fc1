package replay

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"fanfare/server/store"
)

// deletionTime is how long deletions are remembered: longer than a notice may be late.
const deletionTime = time.Minute

// deletions counts deletions of messages, so that what was read or announced before one is
// not delivered after it. Boxes share counters, so that the memory is bounded: another box
// with the same one reads the store once more.
type deletions struct {
	seed     maphash.Seed
	until    atomic.Int64 // Unix time in nanoseconds until which any is remembered; 0: there was none
	counters [256]struct {
		count atomic.Uint64
		until atomic.Int64
	}
}

func (d *deletions) slot(b store.Box) int {
	return int(maphash.Comparable(d.seed, b) % uint64(len(d.counters)))
}

// note counts a deletion in a box.
func (d *deletions) note(b store.Box, now time.Time) {
	c, until := &d.counters[d.slot(b)], now.Add(deletionTime).UnixNano()
	c.until.Store(until)
	c.count.Add(1)
	d.until.Store(until)
}

// count returns how many deletions there were.
func (d *deletions) count(b store.Box) uint64 {
	if d.until.Load() == 0 {
		return 0
	}
	return d.counters[d.slot(b)].count.Load()
}

// recent reports whether a message that was announced may have been deleted since.
func (d *deletions) recent(b store.Box, now func() time.Time) bool {
	until := d.until.Load()
	if until == 0 {
		return false
	}
	at := now().UnixNano()
	return at <= until && at <= d.counters[d.slot(b)].until.Load()
}

// Delete calls purge, which deletes messages of a box. No message that purge has deleted is
// written to any of the receivers after Delete has returned: a session that gets a late notice
// reads the store, and a session that has read the store before reads it again.
func (v *Service) Delete(b store.Box, purge func(), receivers func(func(Receiver))) {
	v.deletions.note(b, v.cfg.Now())
	purge()
	v.deletions.note(b, v.cfg.Now())
	// A session that was writing when the deletion was noted has written.
	receivers(func(r Receiver) { v.use(r, false, func(*session) {}) })
}
