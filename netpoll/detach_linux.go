package netpoll

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// connOf returns a net.Conn on a duplicate of a descriptor. net.FileConn duplicates it
// once more, and os.File insists on owning its own, so three exist for a moment.
func connOf(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(dup), "")
	defer f.Close()
	return net.FileConn(f)
}
