package account

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"fanfare/server/inbox/internal/subject"
)

// Repair takes the damaged parts out of the block files, so that the server, which
// truncates a block at the first of them, recovers the messages that follow. And it
// makes each stream continue after the greatest offset ever assigned, so that none
// is assigned twice. It is safe to repeat.
func (c *Check) Repair() error {
	for k := range subject.Kinds {
		st := &c.Streams[k]
		for _, blk := range st.repair {
			if err := rewrite(k, blk); err != nil {
				return err
			}
		}
		changed := len(st.repair) > 0 || c.Loss.in(k)
		if k < subject.Ack && st.Exists && st.last < c.LastOffset(k) {
			if err := c.advance(k, c.LastOffset(k)); err != nil {
				return err
			}
			changed = true
		}
		if !changed {
			continue
		}
		// The server trusts its index, which describes what the blocks were.
		index := filepath.Join(StreamDir(c.Dir, k), "msgs", "index.db")
		if err := os.Remove(index); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// LastOffset returns the greatest offset known to be assigned. If it is not known which
// messages are missing (Loss.Unknown), it returns one more: that offset is skipped, and
// gap markers name it.
func (c *Check) LastOffset(k subject.Kind) uint64 {
	last := max(c.Tally.last[k], c.maxAck[k], c.Streams[k].last)
	if c.Loss.Unknown != "" {
		last++
	}
	return last
}

// rewrite replaces a block by its valid records.
func rewrite(k subject.Kind, blk block) error {
	b, err := os.ReadFile(blk.file)
	if err != nil {
		return err
	}
	var valid bytes.Buffer
	newBlockReader(k, blk.index).records(b, func(at int, rec record) { valid.Write(b[at : at+rec.size]) })
	return replaceFile(blk.file, valid.Bytes())
}

// advance adds a block with the tombstone of a message that the stream never had:
// the server continues after it, as it does after its own.
func (c *Check) advance(k subject.Kind, last uint64) error {
	blocks, msgs, err := blockFiles(c.Dir, k)
	if err != nil {
		return err
	}
	index := uint64(1)
	if n := len(blocks); n > 0 {
		index = blocks[n-1].index + 1
	}
	if err := os.MkdirAll(msgs, 0o750); err != nil {
		return err
	}
	tombstone := newBlockReader(k, index).tombstone(last, c.Now.UnixNano())
	return replaceFile(filepath.Join(msgs, fmt.Sprintf("%d.blk", index)), tombstone)
}

// replaceFile replaces a file atomically, also if the power is cut.
func replaceFile(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
