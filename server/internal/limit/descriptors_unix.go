//go:build unix

package limit

import "golang.org/x/sys/unix"

// OpenFiles returns how many descriptors the process may open; 0: unknown, or far more than
// anything needs. Go raises the soft limit to the hard one at start.
func OpenFiles() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 0
	}
	return int(r.Cur)
}
