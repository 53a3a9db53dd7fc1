package netpoll

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below are made on non-blocking descriptors and return within microseconds,
// so they do not tell the scheduler (RawSyscall): entering and leaving a syscall state
// would cost about as much as decoding a frame. MSG_DONTWAIT is set all the same, because
// an adopted socket may have been made blocking (File does so), and would block a worker
// and its P.

const sendFlags = unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT

// recv reads without waiting, recv(2). It returns 0, 0 at the end of the stream and
// EAGAIN when there is nothing to read.
func recv(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// send writes until all is written or the socket is full, send(2). A full socket is not
// an error. After a short write it goes on until EAGAIN, because only that promises an
// event when there is room again (epoll(7)).
func send(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[n])), uintptr(len(b)-n), sendFlags, 0, 0)
		switch errno {
		case 0:
			n += int(m)
		case unix.EINTR:
		case unix.EAGAIN:
			return n, nil
		default:
			return n, errno
		}
	}
	return n, nil
}

// maxPieces bounds the queue entries that one sendmsg writes.
const maxPieces = 64

// sendQueueLocked writes the front of the queue with one sendmsg(2).
func (c *Conn) sendQueueLocked() (n int, err error) {
	var pieces [maxPieces][]byte
	var iov [maxPieces]unix.Iovec
	front := c.out.front(pieces[:0], maxPieces)
	if len(front) == 1 {
		return send(int(c.fd), front[0])
	}
	for i, b := range front {
		iov[i].Base = &b[0]
		iov[i].SetLen(len(b))
	}
	msg := unix.Msghdr{Iov: &iov[0]}
	msg.SetIovlen(len(front))
	for {
		m, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&msg)), sendFlags)
		switch errno {
		case 0:
			return int(m), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}

func shutdownWrite(fd int) { unix.Shutdown(fd, unix.SHUT_WR) }
func shutdownBoth(fd int)  { unix.Shutdown(fd, unix.SHUT_RDWR) }

func dupFD(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return dup, os.NewSyscallError("fcntl", err)
}

// isStreamSocket reports whether fd is a connected stream socket, as Accept returns it.
func isStreamSocket(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// acceptFD takes one connection off a listening descriptor, accept4(2).
func acceptFD(fd int) (nfd int, peer netip.AddrPort, errno syscall.Errno) {
	var sa unix.RawSockaddrAny
	for {
		size := uint32(unix.SizeofSockaddrAny)
		r, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch e {
		case 0:
			return int(r), addrPort(&sa), 0
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return -1, netip.AddrPort{}, e
		}
	}
}

// peerAddr returns the address of the peer, also after it has reset the connection:
// getpeername fails then, but SO_PEERNAME does not (inet_getname in the kernel). Its
// length must not exceed that of the address.
func peerAddr(fd int) netip.AddrPort {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, e := syscall.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	for _, length := range [...]uint32{unix.SizeofSockaddrInet6, unix.SizeofSockaddrInet4} {
		if e == 0 {
			return addrPort(&sa)
		}
		size = length
		_, _, e = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	}
	if e != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&sa)
}

func addrPort(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), ntohs(&in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), ntohs(&in.Port))
	}
	return netip.AddrPort{}
}

func ntohs(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// unreadBytes returns how many received bytes the kernel holds, tcp(7) and unix(7).
func unreadBytes(fd int) int { return ioctlInt(fd, unix.SIOCINQ) }

// ioctlInt returns the int that a request asks for, 0 if it fails.
func ioctlInt(fd int, request uintptr) int {
	var n int32
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}

func closeFD(fd int) { unix.Close(fd) }

const (
	// unsentTimeout is how long the kernel may go on offering unsent bytes to a peer
	// that takes none, after the connection was closed here: some round trips and
	// retransmissions. Without a limit it keeps up to a full send buffer, megabytes,
	// for minutes: eight probes, with twice the interval after each (tcp_orphan_retries).
	unsentTimeout = 5 * time.Second
	// stalledProbes is how many doubled intervals without progress are longer than
	// unsentTimeout: the first is at least 200 ms, so five are 6.2 s.
	stalledProbes = 5
)

// limitUnsent is called before close(2). If bytes are unsent, or not acknowledged, they
// get unsentTimeout, counted from the moment when the peer stopped taking any. The kernel
// looks at that only when its next probe is due, which for a peer that has been stalled
// for long is as far away as the stall is old, so such a connection is reset at once.
//
// A peer that takes a few bytes every second is not stalled and not limited here. Unix
// sockets are not concerned: what they hold is in the receiver's queue already.
func limitUnsent(fd int) {
	if ioctlInt(fd, unix.SIOCOUTQ) == 0 {
		return
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return // a Unix socket
	}
	if info.Backoff >= stalledProbes {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
		return
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unsentTimeout.Milliseconds()))
}

// limitUnacknowledged sets TCP_USER_TIMEOUT, see tcp(7). It fails for a Unix socket.
func limitUnacknowledged(fd int, d time.Duration) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(d.Milliseconds(), 1)))
}

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

func trySend(fd uintptr, b []byte) (int, error) { return send(int(fd), b) }
