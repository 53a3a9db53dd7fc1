//go:build unix

package api

import "golang.org/x/sys/unix"

// descriptorLimit returns how many descriptors the process may open; 0: unknown, or far
// more than the API needs.
func descriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 0
	}
	return int(r.Cur)
}
