package inbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// closing is written when a store is closed in order, and removed before the next
// change. It says where the files end, so that a damaged end is not taken for the last
// write of a process that was killed, which was never reported as stored.
//
// The file is one frame of the account's format, with the numbers as uvarints.
type closing struct {
	account   uint64 // bytes
	positions uint64 // last sequence of the stream of positions
	epoch     string // the last of the account
}

func closingFile(dir string) string { return filepath.Join(dir, "closed") }

func (c closing) encode() []byte {
	return appendFrame(nil, appendName(appendUvarints(nil, c.account, c.positions), c.epoch))
}

// readClosing returns what an orderly end has left, nil if there is nothing or it was
// damaged.
func readClosing(dir string) (*closing, error) {
	b, err := os.ReadFile(closingFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != uint32(len(b)-frameHeader) ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[frameHeader:], castagnoli) {
		return nil, nil
	}
	d := decoder{b: b[frameHeader:]}
	c := &closing{account: d.number(), positions: d.number(), epoch: string(d.name())}
	if d.bad {
		return nil, nil
	}
	return c, nil
}

// writeClosing writes, after the server has stopped, where the files end.
func (e *embedded) writeClosing(positions uint64, epoch string) error {
	err := e.account.raw(nil) // what is pending
	var size int64
	if err == nil {
		size, err = e.account.sync()
	}
	if err == nil {
		err = syncBlocks(e.dir, ackKind)
	}
	if err != nil {
		return err
	}
	return replaceFile(closingFile(e.dir), closing{uint64(size), positions, epoch}.encode())
}

// removeClosing is called before the files change.
func removeClosing(dir string) error {
	err := os.Remove(closingFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

// compareEnd compares where the account ends with where it did when the store was
// closed, and takes note of an incomplete write if it was not.
func (c *check) compareEnd() error {
	closed, err := readClosing(c.dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(accountFile(c.dir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what that means is found out elsewhere
		}
		return err
	}
	t, size := c.tally, info.Size()
	if closed != nil {
		known := -1
		for i, e := range t.epochs {
			if e.id == closed.epoch {
				known = i
			}
		}
		if known >= 0 && known < len(t.epochs)-1 {
			closed = nil // a version that does not know the file has opened the store since
		}
	}
	c.closed = closed
	switch file := accountFile(c.dir); {
	case closed == nil && size > t.valid:
		c.torn = append(c.torn, damage{file, int(t.valid), int(size - t.valid)})
	case closed == nil:
	case size > t.valid:
		t.damaged = append(t.damaged, damage{file, int(t.valid), int(size - t.valid)})
	case uint64(t.valid) < closed.account:
		t.damaged = append(t.damaged, damage{file, int(t.valid), int(closed.account) - int(t.valid)})
	case uint64(t.valid) > closed.account: // cannot be
		t.damaged = append(t.damaged, damage{file, int(closed.account), int(t.valid) - int(closed.account)})
	}
	return nil
}

// setBack are positions whose last records are damaged: their users are sent messages
// that they have acknowledged.
type setBack struct {
	names   map[string]uint64 // with the sequence of the last damaged record
	unnamed int               // records whose names are damaged, too
}

// read finds what it can in a damaged part of a block of positions.
func (s *setBack) read(b []byte) {
	const fields = recordHeader // precede the name
	prefix, found := []byte(prefixes[ackKind]), false
	for at := 0; at+fields <= len(b); at++ {
		subject := b[at+fields:]
		n := int(binary.LittleEndian.Uint16(b[at+fields-2:]))
		if n <= len(prefix) || n > len(subject) || string(subject[:len(prefix)]) != string(prefix) {
			continue
		}
		name := string(subject[len(prefix):n])
		if s.names == nil {
			s.names = make(map[string]uint64)
		}
		seq := binary.LittleEndian.Uint64(b[at+4:])
		s.names[name] = max(s.names[name], seq)
		found = true
		at += fields + n - 1
	}
	if !found {
		s.unnamed++
	}
}

// setBackPositions returns how many positions were set back, at most, and of how many users
// that is known.
func (c *check) setBackPositions() (positions, users int) {
	known := make(map[string]bool)
	for name, seq := range c.setBack.names {
		if c.stored[hashName(ackKind, name)] < seq { // else a later record is there
			user, _, _ := strings.Cut(name, ".")
			known[user] = true
			positions++
		}
	}
	positions += c.setBack.unnamed
	if c.closed != nil && c.closed.positions > c.streams[ackKind].last {
		positions = max(positions, int(c.closed.positions-c.streams[ackKind].last))
	}
	return positions, len(known)
}

func (s *Store) logSetBack(c *check) {
	positions, users := c.setBackPositions()
	if positions == 0 {
		return
	}
	of := fmt.Sprint(users)
	if users < positions {
		of = fmt.Sprintf("%d to %d", users, positions)
	}
	s.log.Warn("acknowledged positions are damaged, and earlier ones are used: their users receive messages a second time",
		"positions", positions, "users", of)
}
