package netpoll

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// connOf returns a net.Conn on a duplicate of a descriptor. net.FileConn makes
// one more, and os.File wants to own what it gets, so for a moment there are
// three.
func connOf(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "")
	defer f.Close()
	return net.FileConn(f)
}
