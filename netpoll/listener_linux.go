package netpoll

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxAccepts is how many connections one turn accepts, at 10 µs each, so that a burst of
// connects does not starve open connections.
const maxAccepts = 16

func (e *Engine) listenOn(l *listener, fd int) error {
	// Accepted sockets inherit it, which saves a system call for each. For a Unix
	// socket it fails, and is not needed.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	l.conn.flags.Store(flagListener | flagSealed)
	if err := e.open(fd, &l.conn, l); err != nil {
		return err
	}
	e.addListener(l)
	return nil
}

// acceptTurn accepts waiting connections, at most maxAccepts. Like turn it reports
// whether the caller still holds the turn.
func (e *Engine) acceptTurn(c *Conn) bool {
	l := c.handler.(*listener)
	var last syscall.Errno
	failed := 0
	for range maxAccepts {
		fd, peer, errno := e.accept(int(c.fd))
		switch errno {
		case 0:
			e.accepted(l, fd, peer)
			continue
		case unix.EAGAIN:
			return true
		case unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN,
			unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ETIMEDOUT:
			// Errors of a connection that is gone already: accept(2). Most of them
			// take it off the kernel's list, but a security module that says EPERM
			// leaves it there.
			failed++
			last = errno
			continue
		}
		e.pauseAccept(l, errno)
		return true
	}
	if failed == maxAccepts {
		e.pauseAccept(l, last)
		return true
	}
	e.yield(c, Readable)
	return false
}

// pauseAccept stops accepting for acceptPause, or until a connection ends: the error
// would recur at once, and no event reports when accept would succeed.
func (e *Engine) pauseAccept(l *listener, err error) {
	e.acceptFailed(l, err)
	if l.starved.CompareAndSwap(false, true) {
		e.stats.starving.Add(1)
		e.retry.Reset(acceptPause) // one timer for all listeners
	}
}

func (e *Engine) accepted(l *listener, fd int, peer netip.AddrPort) {
	c, h := l.accept(peer)
	if c == nil {
		e.stats.rejected.Add(1)
		send(fd, e.rejectResponse)
		shutdownWrite(fd)
		e.lingering.hold(func() { hangUp(fd) }, e.now())
		return
	}
	if err := e.open(fd, c, h); err != nil {
		h.Close(c, err) // Accept has made a session that expects it
		if !errors.Is(err, net.ErrClosed) {
			e.acceptFailed(l, err) // most likely max_user_watches, epoll(7)
		}
	}
}

// hangUp closes the descriptor of a rejected connection. It first reads what the peer has
// sent, up to 64 KiB, because a close with unread bytes resets the connection.
func hangUp(fd int) {
	var buf [4 << 10]byte
	for range 16 {
		if n, errno := recv(fd, buf[:]); n <= 0 || errno != 0 {
			break
		}
	}
	closeFD(fd)
}

// dupDescriptor returns a duplicate of the descriptor of a socket.
func dupDescriptor(v any) (int, error) {
	raw, err := v.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("netpoll: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, fmt.Errorf("netpoll: %w", err)
	}
	if dupErr != nil {
		return -1, os.NewSyscallError("fcntl", dupErr)
	}
	return fd, nil // Go's sockets are non-blocking already
}
