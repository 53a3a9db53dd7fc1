package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// disk is a small file system in memory.
type disk struct {
	path string
	size int64
}

// disks counts the disks of this process.
var disks atomic.Uint32

// errNoDisk means that this process may not mount.
var errNoDisk = errors.New("fault: mounting a disk needs root")

// mountDisk mounts a disk at a new path.
func mountDisk(path string, size int64) (*disk, error) {
	if os.Geteuid() != 0 {
		return nil, errNoDisk
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	// The name has the process number, for sweep.
	name := fmt.Sprintf("ff%d-%d", os.Getpid(), disks.Add(1))
	if err := unix.Mount(name, path, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDisk, err)
	}
	return &disk{path, size}, nil
}

func (d *disk) filler() string { return filepath.Join(d.path, "filler") }

// fill writes until the disk is full.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for {
		if _, err := f.Write(buf); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return nil
			}
			return fmt.Errorf("fault: %w", err)
		}
	}
}

// free makes space again.
func (d *disk) free() { os.Remove(d.filler()) }

func (d *disk) unmount() {
	if d != nil {
		unix.Unmount(d.path, unix.MNT_DETACH)
	}
}
