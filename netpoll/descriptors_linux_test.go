package netpoll

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// openDescriptors counts the process's descriptors.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries) - 1 // the directory's own
}

func listDescriptors(w io.Writer) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		fmt.Fprintln(w, e.Name(), target)
	}
}

// smallBuffers makes the connections of a listener full sooner.
func smallBuffers(ln net.Listener) {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 64<<10)
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10)
		})
	}
}
