//go:build unix

package limit

import "golang.org/x/sys/unix"

// Descriptors returns the number of connections that the descriptor limit permits beside
// a reserve of 1/16, at least 64, for listeners, the API, files and what else a
// program opens. Go raises the soft limit to the hard one at start.
func Descriptors() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 1 << 20
	}
	return connections(int(r.Cur))
}
