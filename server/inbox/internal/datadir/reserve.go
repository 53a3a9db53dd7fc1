package datadir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/store"
)

// Reserve is a file that occupies space. On a full disk it is removed, so that
// there is room to delete messages; while it cannot be written again, nothing is
// accepted.
type Reserve struct {
	File string
	// Used says that an account was begun in the directory. Owned by the goroutine that
	// calls Acquire.
	Used bool
}

// ReserveSize must fit on the disk for messages to be accepted. The tombstones of
// 100,000 messages take 3 MB.
const ReserveSize = 4 << 20

// NewReserve returns the reserve of a directory; Acquire makes the file.
func NewReserve(dir string) *Reserve { return &Reserve{File: filepath.Join(dir, account.ReserveName)} }

// Acquire writes the file, unless it is there. The first byte is account.UsedMark if
// the directory is used.
func (r *Reserve) Acquire() error {
	if info, err := os.Stat(r.File); err == nil && info.Size() == ReserveSize {
		return nil
	}
	// Random, for file systems that compress.
	b := make([]byte, ReserveSize)
	rand.NewChaCha8([32]byte{}).Read(b)
	if b[0] = 0; r.Used {
		b[0] = account.UsedMark
	}
	f, err := os.OpenFile(r.File, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
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
		os.Remove(r.File)
	}
	return err
}

// Release frees the space.
func (r *Reserve) Release() { os.Remove(r.File) }

// HasRoom returns an error if so many bytes cannot be written in a directory.
func HasRoom(dir string, bytes int) error {
	file := filepath.Join(dir, "room")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	b := make([]byte, bytes)
	rand.NewChaCha8([32]byte{}).Read(b) // for file systems that compress
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// IsDiskFull recognizes what systems say of a disk, or a quota, without room.
func IsDiskFull(text string) bool {
	return strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded")
}

// NoRoomToDelete returns store.ErrDiskFull for a directory in which not even a deletion can
// be recorded.
func NoRoomToDelete(dir string) error {
	return fmt.Errorf("%w: not even room to delete messages: free some space where %s is, %d MiB at least; the store continues by itself",
		store.ErrDiskFull, dir, ReserveSize>>20)
}

// DiskFull returns store.ErrDiskFull for a directory, with what to do.
func DiskFull(dir string) error {
	return fmt.Errorf("%w: free some space where %s is, %d MiB at least, or delete messages; the store continues by itself",
		store.ErrDiskFull, dir, ReserveSize>>20)
}
