package account

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fanfare/server/inbox/internal/subject"
)

// closing records where the files ended when the store was closed. It is removed before
// they change. It distinguishes a damaged end from an incomplete last write of a process
// that was killed; such a write was never reported as stored.
//
// The file is one frame of the account's format, with the numbers as uvarints.
type closing struct {
	account   uint64 // bytes
	positions uint64 // last sequence of the stream of positions
	epoch     string // the last of the account
}

// ClosingFile returns the path of the file.
func ClosingFile(dir string) string { return filepath.Join(dir, "closed") }

func (c closing) encode() []byte {
	return appendFrame(nil, appendName(appendUvarints(nil, c.account, c.positions), c.epoch))
}

// readClosing returns what an orderly end has left, nil if there is nothing or it was
// damaged.
func readClosing(dir string) (*closing, error) {
	b, err := os.ReadFile(ClosingFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	content, ok := frameContent(b)
	if !ok {
		return nil, nil
	}
	d := decoder{b: content}
	c := &closing{account: d.number(), positions: d.number(), epoch: string(d.name())}
	if d.bad {
		return nil, nil
	}
	return c, nil
}

// RemoveClosing removes the file. It must be called before other files change.
func RemoveClosing(dir string) error {
	err := os.Remove(ClosingFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

// compareEnd compares the length of the account with that at the close of the store. If the
// store was not closed, it notes an incomplete write.
func (c *Check) compareEnd() error {
	closed, err := readClosing(c.Dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(File(c.Dir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what that means is found out elsewhere
		}
		return err
	}
	t, size := c.Tally, info.Size()
	if closed != nil {
		known := -1
		for i, e := range t.Epochs {
			if e.ID == closed.epoch {
				known = i
			}
		}
		if known >= 0 && known < len(t.Epochs)-1 {
			closed = nil // a version that does not know the file has opened the store since
		}
	}
	c.closed = closed
	switch file := File(c.Dir); {
	case closed == nil && size > t.Valid:
		c.Torn = append(c.Torn, damage{file, int(t.Valid), int(size - t.Valid)})
	case closed == nil:
	case size > t.Valid:
		t.damaged = append(t.damaged, damage{file, int(t.Valid), int(size - t.Valid)})
	case uint64(t.Valid) < closed.account:
		t.damaged = append(t.damaged, damage{file, int(t.Valid), int(closed.account) - int(t.Valid)})
	case uint64(t.Valid) > closed.account: // cannot be
		t.damaged = append(t.damaged, damage{file, int(closed.account), int(t.Valid) - int(closed.account)})
	}
	return nil
}

// setBack collects positions whose last records are damaged. Their users receive
// messages again that they have acknowledged.
type setBack struct {
	names   map[string]uint64 // with the sequence of the last damaged record
	unnamed int               // records whose names are damaged, too
}

// read finds what it can in a damaged part of a block of positions.
func (s *setBack) read(b []byte) {
	const fields = RecordHeader // precede the name
	prefix, found := []byte(subject.Ack.Prefix()), false
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

// SetBackPositions returns the greatest number of positions that may have been set back, and
// the number of users that are known to have one.
func (c *Check) SetBackPositions() (positions, users int) {
	known := make(map[string]bool)
	for name, seq := range c.setBack.names {
		if c.Stored[HashName(subject.Ack, name)].Seq < seq { // else a later record is there
			user, _, _ := strings.Cut(name, ".")
			known[user] = true
			positions++
		}
	}
	positions += c.setBack.unnamed
	if c.closed != nil && c.closed.positions > c.Streams[subject.Ack].last {
		positions = max(positions, int(c.closed.positions-c.Streams[subject.Ack].last))
	}
	return positions, len(known)
}

// WriteClosing writes where the files end. The server must have stopped.
func (a *Account) WriteClosing(positions uint64, epoch string, now time.Time) error {
	err := a.Raw(nil) // what is pending
	var size int64
	if err == nil {
		size, err = a.Sync()
	}
	dir := filepath.Dir(a.File)
	if err == nil {
		err = SyncBlocks(dir, subject.Ack, now)
	}
	if err != nil {
		return err
	}
	return replaceFile(ClosingFile(dir), closing{uint64(size), positions, epoch}.encode())
}
