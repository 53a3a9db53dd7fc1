//go:build unix

package handover

import (
	"os"

	"golang.org/x/sys/unix"
)

func duplicate(f *os.File) (int, error) { return unix.Dup(int(f.Fd())) }
