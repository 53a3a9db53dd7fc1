//go:build unix

package server

import "golang.org/x/sys/unix"

// descriptorLimit is the most connections that the descriptor limit leaves room
// for, beside a reserve for listeners, the API, files and what a program that
// embeds the server opens. Go has raised the soft limit to the hard one already.
func descriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 1 << 20
	}
	n := int(r.Cur)
	return max(n-max(n/16, 64), 1)
}
