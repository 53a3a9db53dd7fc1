//go:build unix && !linux

package netpoll

import "golang.org/x/sys/unix"

func trySend(fd uintptr, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(int(fd), b[n:])
		switch err {
		case nil:
			n += m
		case unix.EINTR:
		case unix.EAGAIN:
			return n, nil
		default:
			return n, err
		}
	}
	return n, nil
}
