package inbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/store"
)

// reserve is a file that occupies space. On a full disk it is removed, so that
// there is room to delete messages; while it cannot be written again, nothing is
// accepted.
type reserve struct {
	file string
	used bool // the directory is in use: owned as embedded.lock
}

// reserveSize must fit on the disk for messages to be accepted. The tombstones of
// 100,000 messages take 3 MB.
const reserveSize = 4 << 20

func newReserve(dir string) *reserve { return &reserve{file: filepath.Join(dir, account.ReserveName)} }

// acquire writes the file, unless it is there. The first byte is usedMark after an
// account was begun: see used.
func (r *reserve) acquire() error {
	if info, err := os.Stat(r.file); err == nil && info.Size() == reserveSize {
		return nil
	}
	// Random, for file systems that compress.
	b := make([]byte, reserveSize)
	rand.NewChaCha8([32]byte{}).Read(b)
	if b[0] = 0; r.used {
		b[0] = account.UsedMark
	}
	f, err := os.OpenFile(r.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(r.file)
	}
	return err
}

// release frees the space.
func (r *reserve) release() { os.Remove(r.file) }

// isDiskFull recognizes what systems say of a disk, or a quota, without room.
func isDiskFull(text string) bool {
	return strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded")
}

func errDiskFull(dir string) error {
	return fmt.Errorf("%w: free some space where %s is, %d MiB at least, or delete messages; the store continues by itself",
		store.ErrDiskFull, dir, reserveSize>>20)
}
