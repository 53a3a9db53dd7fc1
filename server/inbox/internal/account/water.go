package account

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// highWater says, outside of the account and of the blocks, how far the account went and
// which messages it had. If the ends of both are cut off, nothing in them shows it: an
// account that ends earlier looks like one whose process was killed, and without its
// entries no message is missed.
//
// It is overwritten in place, in the lock file, after each write to the account and before
// the methods that add entries return. The end of a process leaves it exact. It is flushed
// with each mark, so that after a power cut it may be about a second old.
type highWater struct {
	size  int64     // bytes of the account
	last  [2]uint64 // greatest offset with an entry, by kind
	epoch string    // the last of the account
}

const (
	// highWaterAt is where it begins in the lock file, after the mark of a used directory.
	highWaterAt = 64
	// highWaterSize has room for the frame: 8 bytes, three numbers of at most 10 bytes,
	// and an epoch of 16.
	highWaterSize = 96
)

func (h highWater) encode() []byte {
	b := make([]byte, 0, highWaterSize)
	content := make([]byte, 0, highWaterSize)
	b = appendFrame(b, appendName(appendUvarints(content, uint64(h.size), h.last[0], h.last[1]), h.epoch))
	return b[:highWaterSize] // zeros follow
}

// readHighWater returns what a directory has, nil if there is nothing, or it is damaged.
func readHighWater(dir string) *highWater {
	f, err := os.Open(filepath.Join(dir, LockName))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, highWaterSize)
	if _, err := f.ReadAt(b, highWaterAt); err != nil {
		return nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n > highWaterSize-frameHeader {
		return nil
	}
	content, ok := frameContent(b[:frameHeader+n])
	if !ok {
		return nil
	}
	d := decoder{b: content}
	h := &highWater{int64(d.number()), [2]uint64{d.number(), d.number()}, string(d.name())}
	if d.bad || h.epoch == "" {
		return nil
	}
	return h
}

// clearHighWater takes back what a directory says of an account that is about to be
// replaced by a shorter one.
func clearHighWater(dir string) error {
	if readHighWater(dir) == nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, highWaterSize), highWaterAt); err != nil {
		return err
	}
	return f.Sync()
}

// BeginEpoch notes that the account has an epoch as its last one. From then on the lock
// file says how far the account goes.
func (a *Account) BeginEpoch(epoch string, last [2]uint64) error {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(a.File), LockName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.water != nil {
		a.water.Close()
	}
	a.water, a.epoch = f, epoch
	for k := range a.last {
		a.last[k] = max(a.last[k], last[k])
	}
	a.waterLocked(a.size)()
	return f.Sync()
}

// waterLocked returns a function that writes how far the account goes, to be called when so
// many bytes of it are written. The caller holds mu; the function needs no lock, and calls
// must not overlap. It ignores errors: the lock file then says less.
func (a *Account) waterLocked(size int64) func() {
	f, h := a.water, highWater{size, a.last, a.epoch}
	return func() {
		if f != nil {
			f.WriteAt(h.encode(), highWaterAt)
		}
	}
}

// compareHighWater finds out whether messages are missing whose entries are missing, too.
// Only after an orderly end the account says itself where it ends.
func (c *Check) compareHighWater() {
	t := c.Tally
	h := readHighWater(c.Dir)
	if h == nil || c.closed != nil || t.Valid < 0 || !t.Limited || c.Loss.Unknown != "" {
		return
	}
	known := -1
	for i, e := range t.Epochs {
		if e.ID == h.epoch {
			known = i
		}
	}
	switch {
	case known >= 0 && known < len(t.Epochs)-1: // a version that does not know it has opened the store since
		return
	case known == len(t.Epochs)-1 && h.size <= t.Valid:
		return
	}
	missing := 0
	for k := range h.last {
		// Messages before the first one that is left may have been evicted, or have expired.
		for seq := max(t.settled[k]+1, t.covers[k]+1, c.Streams[k].Live.min()); seq <= h.last[k]; seq++ {
			if !t.seen[k].Has(seq) && !c.Streams[k].Live.Has(seq) && !c.Streams[k].removed.Has(seq) {
				missing++
			}
		}
		t.last[k] = max(t.last[k], h.last[k])
	}
	if missing == 0 {
		return
	}
	c.Loss.Unknown = fmt.Sprintf("%s and the last messages are cut off: %s at least", filepath.Base(File(c.Dir)), count(missing, "message"))
	c.Loss.unknownPower = !t.Limits.Flush && c.rebooted()
}
