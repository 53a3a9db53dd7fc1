package account

import (
	"os"
	"path/filepath"
)

// The files of a directory that hold no messages.
const (
	LockName    = "LOCK"
	ReserveName = "reserve"
)

// UsedMark begins the lock file and the reserve of a directory in which an account was
// begun. A directory that has one of them, and neither an account nor messages, has
// lost them; without a mark it is a new one.
const UsedMark = 'u'

// used reports whether a directory has a mark.
func used(dir string) bool {
	for _, name := range []string{LockName, ReserveName} {
		var first [1]byte
		if f, err := os.Open(filepath.Join(dir, name)); err == nil {
			n, _ := f.Read(first[:])
			f.Close()
			if n == 1 && first[0] == UsedMark {
				return true
			}
		}
	}
	return false
}

// WriteUsedMark writes the mark, unless it is there.
func WriteUsedMark(f *os.File) error {
	var first [1]byte
	if _, err := f.ReadAt(first[:], 0); err == nil && first[0] == UsedMark {
		return nil
	}
	if _, err := f.WriteAt([]byte{UsedMark}, 0); err != nil {
		return err
	}
	return f.Sync()
}
