package inbox

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
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
func (c *check) writeSnapshot(f *os.File, l limits, epochs []epoch, covers [2]uint64) (size int64, err error) {
	w := &frameWriter{f: f}
	b := appendLimits(nil, l)
	for _, e := range epochs {
		b = appendEpoch(b, e)
	}
	b = appendCovers(b, covers)
	w.add(appendMark(b, mark{ms: c.tally.ms, first: c.tally.first, last: c.tally.last}))
	if err := c.copyEntries(w); err != nil {
		return 0, err
	}
	for name, ms := range c.strays {
		w.add(appendPosition(b[:0], ms, name))
	}
	err = c.each(func(e *adoptee, _ int64, removed bool) {
		if live := c.streams[e.kind].live; removed || live != nil && !live.has(e.offset) {
			return
		}
		w.add(appendMessage(b[:0], e.kind, e.offset, e.ms, e.size, e.name))
	})
	// The last mark says that all before it is on the disk, which it is at the end.
	w.end()
	w.add(appendMark(b[:0], mark{ms: c.tally.ms, first: c.tally.first, last: c.tally.last}))
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
func (c *check) copyEntries(w *frameWriter) error {
	t := c.tally
	if t.valid <= 0 {
		return nil
	}
	copied := make(map[uint64]bool)
	var b []byte
	_, _, err := readAccount(accountFile(c.dir), t.valid, func(e *entry) {
		switch e.what {
		case entryPurge:
			age := t.limits.age
			if e.ms+age.Milliseconds() <= c.now.UnixMilli() {
				return
			}
			b = appendPurge(b[:0], e.kind, e.offset, e.ms, string(e.name))
		case entryPosition:
			h := hashName(ackKind, e.name)
			if copied[h] || t.positions[h] != e.ms || t.positionExpired(e.ms, c.now) {
				return
			}
			copied[h] = true
			b = appendPosition(b[:0], e.ms, string(e.name))
		default:
			return
		}
		w.add(b)
	})
	return err
}

// replace replaces the account by a snapshot of what check found.
func (a *account) replace(c *check, l limits, epochs []epoch, covers [2]uint64) error {
	f, err := os.CreateTemp(filepath.Dir(a.file), "account-*")
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
func (a *account) swap(f *os.File, size int64, before func() (int64, error)) error {
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
	if err := os.Rename(f.Name(), a.file); err != nil {
		return err
	}
	if a.f != nil {
		a.f.Close()
	}
	a.f, a.size, a.durable = f, size, max(size-lag, 0)
	return syncDir(filepath.Dir(a.file))
}

// compact replaces the account by a snapshot while entries are added: what was
// there is filtered, what comes meanwhile is copied.
func (a *account) compact(dir string, l limits, epochs []epoch) (err error) {
	cut, _ := a.sizes()
	c := &check{dir: dir, now: time.Now()}
	if c.tally, err = readTally(a.file, cut); err != nil {
		return err
	}
	if len(c.tally.damaged) > 0 {
		return fmt.Errorf("%v", c.tally.damaged[0])
	}
	f, err := os.CreateTemp(filepath.Dir(a.file), "account-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	size, err := c.writeSnapshot(f, l, epochs, c.tally.covers)
	if err != nil {
		return err
	}
	from, err := os.Open(a.file)
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
		upTo, _ := a.sizes()
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
