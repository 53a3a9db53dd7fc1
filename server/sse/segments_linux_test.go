package sse_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// segmentsReceived returns how many segments with data a client has received: the writes of
// the server, since it sends each at once and they are small.
var segmentsReceived = func(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	raw.Control(func(fd uintptr) {
		info, e := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err = e; e == nil {
			n = int(info.Data_segs_in)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
