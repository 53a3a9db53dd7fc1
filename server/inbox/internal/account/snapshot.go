package account

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fanfare/server/inbox/internal/subject"
)

// A snapshot is an account with only what is still alive. One is written at Open,
// after something was repaired, and when the account has grown too long.

// frameWriter writes entries in frames.
type frameWriter struct {
	f       *os.File
	size    int64
	entries []byte
	frame   []byte
	err     error
}

// add appends entries to what is written.
func (w *frameWriter) add(entries []byte) {
	w.entries = append(w.entries, entries...)
	if len(w.entries) >= frameSize {
		w.end()
	}
}

func (w *frameWriter) end() {
	if len(w.entries) == 0 || w.err != nil {
		return
	}
	w.frame = appendFrame(w.frame[:0], w.entries)
	w.entries = w.entries[:0]
	if _, w.err = w.f.WriteAt(w.frame, w.size); w.err == nil {
		w.size += int64(len(w.frame))
	}
}

// writeSnapshot writes what the account and, if they were read, the streams have.
// covers says that nothing else is alive up to these offsets.
func (c *Check) writeSnapshot(f *os.File, l Limits, epochs []Epoch, covers [2]uint64) (size int64, err error) {
	w := &frameWriter{f: f}
	b := AppendLimits(nil, l)
	for _, e := range epochs {
		b = AppendEpoch(b, e)
	}
	b = appendCovers(b, covers)
	w.add(appendMark(b, Mark{Ms: c.Tally.ms, First: c.Tally.First, Last: c.Tally.last}))
	if err := c.copyEntries(w); err != nil {
		return 0, err
	}
	for name, ms := range c.Strays {
		w.add(appendPosition(b[:0], ms, name))
	}
	err = c.Each(func(e *Adoptee, _ int64, removed bool) {
		live := c.Streams[e.Kind].Live
		box := c.Tally.Boxes[HashName(e.Kind, e.Name)]
		if (removed || live != nil && !live.Has(e.Offset)) && !c.Tally.end(box, e.Offset, e.ms, c.Now) {
			return
		}
		w.add(appendMessage(b[:0], e.Kind, e.Offset, e.ms, e.size, e.Name))
	})
	// The last mark says that all before it is on the disk, which it is at the end.
	w.end()
	w.add(appendMark(b[:0], Mark{Ms: c.Tally.ms, First: c.Tally.First, Last: c.Tally.last}))
	w.end()
	if err == nil {
		err = w.err
	}
	if err == nil {
		err = f.Sync()
	}
	return w.size, err
}

// copyEntries copies purges and positions that matter: messages that were purged
// could come back from damaged files while they are not too old.
func (c *Check) copyEntries(w *frameWriter) error {
	t := c.Tally
	if t.Valid <= 0 {
		return nil
	}
	copied := make(map[uint64]bool)
	var b []byte
	_, _, err := Read(File(c.Dir), t.Valid, func(e *Entry) {
		switch e.What {
		case entryPurge:
			age := t.Limits.Age
			if e.ms+age.Milliseconds() <= c.Now.UnixMilli() {
				return
			}
			b = appendPurge(b[:0], e.kind, e.offset, e.ms, string(e.Name))
		case EntryPosition:
			h := HashName(subject.Ack, e.Name)
			if copied[h] || t.Positions[h] != e.ms || t.positionExpired(e.ms, c.Now) {
				return
			}
			copied[h] = true
			b = appendPosition(b[:0], e.ms, string(e.Name))
		default:
			return
		}
		w.add(b)
	})
	return err
}

// Replace replaces the account by a snapshot of what c found.
func (a *Account) Replace(c *Check, l Limits, epochs []Epoch, covers [2]uint64) error {
	f, err := os.CreateTemp(filepath.Dir(a.File), "account-*")
	if err != nil {
		return err
	}
	size, err := c.writeSnapshot(f, l, epochs, covers)
	if err == nil {
		err = a.swap(f, size, nil)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
	}
	return err
}

// swap makes f, with so many bytes, the account. before, which may be nil, is called
// under the lock and returns how many bytes there are then.
func (a *Account) swap(f *os.File, size int64, before func() (int64, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.writing {
		a.wake.Wait()
	}
	lag := a.size - a.durable
	if before != nil {
		var err error
		if size, err = before(); err != nil {
			return err
		}
	} else {
		lag = 0
	}
	if err := f.Sync(); err != nil {
		return err
	}
	dir := filepath.Dir(a.File)
	if err := clearHighWater(dir); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), a.File); err != nil {
		return err
	}
	if a.f != nil {
		a.f.Close()
	}
	a.f, a.size, a.durable = f, size, max(size-lag, 0)
	if err := syncDir(dir); err != nil {
		return err
	}
	a.waterLocked(size)()
	return nil
}

// Compact replaces the account by a snapshot while entries are added: what was
// there is filtered by what has expired at now, what comes meanwhile is copied.
func (a *Account) Compact(dir string, l Limits, epochs []Epoch, now time.Time) (err error) {
	cut, _ := a.Sizes()
	c := &Check{Dir: dir, Now: now}
	if c.Tally, err = ReadTally(a.File, cut); err != nil {
		return err
	}
	if len(c.Tally.damaged) > 0 {
		return fmt.Errorf("%v", c.Tally.damaged[0])
	}
	f, err := os.CreateTemp(filepath.Dir(a.File), "account-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	size, err := c.writeSnapshot(f, l, epochs, c.Tally.covers)
	if err != nil {
		return err
	}
	from, err := os.Open(a.File)
	if err != nil {
		return err
	}
	defer from.Close()
	more := func(upTo int64) error {
		n, err := copyAt(f, size, from, cut, upTo-cut)
		size, cut = size+n, cut+n
		return err
	}
	for range 3 { // the rest is short
		upTo, _ := a.Sizes()
		if err := more(upTo); err != nil {
			return err
		}
	}
	return a.swap(f, size, func() (int64, error) {
		err := more(a.size)
		return size, err
	})
}

// copyAt copies n bytes between files.
func copyAt(to *os.File, at int64, from *os.File, begin, n int64) (copied int64, err error) {
	buf := make([]byte, min(n, 1<<20))
	for copied < n {
		part := buf[:min(int64(len(buf)), n-copied)]
		if _, err := from.ReadAt(part, begin+copied); err != nil {
			return copied, err
		}
		if _, err := to.WriteAt(part, at+copied); err != nil {
			return copied, err
		}
		copied += int64(len(part))
	}
	return copied, nil
}

// MustReplace reports whether the account needs a snapshot: it is new, has changed by
// more than additions, or is much longer than what is alive.
func (c *Check) MustReplace(l Limits) bool {
	t := c.Tally
	return t.Valid <= 0 || !t.Limited || l != t.Limits || !c.Loss.Nothing() || len(c.adopted) > 0 || len(c.Strays) > 0 ||
		len(t.damaged) > 0 || t.Valid > 1<<20
}
