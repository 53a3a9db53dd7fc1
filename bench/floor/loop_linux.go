package floor

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxConns is one table entry per descriptor number: 16 bytes each, touched only as far as they are used.
const maxConns = 1 << 20

// A conn is the state of a descriptor.
type conn struct {
	rest  *rest // nil between two messages, with nothing to send
	state uint8 // closed, greeting, echoing or listening
}

const (
	closed    = iota
	greeting  // the request is not whole yet
	echoing   // /echo
	listening // /ws: pushes only
)

// A rest is the unfinished input and output of a connection.
type rest struct {
	in  []byte // an incomplete request or frame
	out []byte // bytes that the socket did not accept
}

// A loop serves its share of the connections on one thread.
type loop struct {
	epoll, listener, wake int
	conns                 []conn
	last                  int // highest descriptor number seen
	buf                   []byte
	open                  atomic.Int64

	// For TLS.
	config  *tls.Config // nil: without TLS
	tls     []*secured  // one entry per descriptor number
	sealed  []byte
	secured int // handshakes so far

	mu   sync.Mutex
	mail [][]byte // frames to broadcast; guarded by mu
}

func newLoop(addr netip.AddrPort) (*loop, error) {
	l := &loop{conns: make([]conn, maxConns), buf: make([]byte, 256<<10)}
	var err error
	if l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("floor: socket: %w", err)
	}
	unix.SetsockoptInt(l.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	unix.SetsockoptInt(l.listener, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	unix.SetsockoptInt(l.listener, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // accepted sockets inherit it
	if err := unix.Bind(l.listener, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return nil, fmt.Errorf("floor: bind %v: %w", addr, err)
	}
	if err := unix.Listen(l.listener, 4096); err != nil {
		return nil, fmt.Errorf("floor: listen: %w", err)
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("floor: epoll_create1: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("floor: eventfd: %w", err)
	}
	l.add(l.listener)
	l.add(l.wake)
	return l, nil
}

func (l *loop) add(fd int) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

func (l *loop) run() {
	runtime.LockOSThread()
	var events [512]unix.EpollEvent
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(l.epoll),
			uintptr(unsafe.Pointer(&events)), uintptr(len(events)), ^uintptr(0), 0, 0)
		if errno != 0 {
			continue // EINTR
		}
		for _, ev := range events[:n] {
			switch fd := int(ev.Fd); fd {
			case l.listener:
				l.accept()
			case l.wake:
				l.broadcast()
			default:
				c := &l.conns[fd]
				if ev.Events&unix.EPOLLOUT != 0 && c.rest != nil && len(c.rest.out) > 0 {
					l.send(fd, c, nil)
				}
				if ev.Events&unix.EPOLLIN != 0 {
					l.receive(fd, c, ev.Events&unix.EPOLLRDHUP != 0)
				}
			}
		}
	}
}

func (l *loop) accept() {
	for {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		l.last = max(l.last, int(fd))
		l.conns[fd] = conn{state: greeting}
		if l.config != nil {
			l.secure(int(fd))
		}
		l.add(int(fd))
	}
}

// receive reads until the socket is empty: until a short read, or until the end of the stream if the event has one.
func (l *loop) receive(fd int, c *conn, ends bool) {
	for c.state != closed {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)), 0, 0, 0)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 || n == 0 {
			l.close(fd, c)
			return
		}
		in := l.buf[:n]
		if l.config != nil {
			var ok bool
			if in, ok = l.tls[fd].open(in); !ok {
				l.close(fd, c)
				return
			}
		}
		if c.rest != nil && len(c.rest.in) > 0 {
			c.rest.in = append(c.rest.in, in...)
			in = c.rest.in
		}
		used := l.handle(fd, c, in)
		switch {
		case used < len(in):
			if c.rest == nil {
				c.rest = new(rest)
			}
			c.rest.in = append(c.rest.in[:0], in[used:]...)
		case c.rest != nil && len(c.rest.out) == 0:
			c.rest = nil
		case c.rest != nil:
			c.rest.in = nil
		}
		if int(n) < len(l.buf) && !ends {
			return
		}
	}
}

func (l *loop) handle(fd int, c *conn, in []byte) (used int) {
	if c.state == greeting {
		answer, echo, n := greet(in)
		if n == 0 {
			return 0
		}
		used, c.state = n, listening
		if echo {
			c.state = echoing
		}
		l.open.Add(1)
		l.answer(fd, c, answer)
	}
	answer, n, bye := turn(in[used:], c.state == echoing)
	if len(answer) > 0 {
		l.answer(fd, c, answer)
	}
	if bye {
		l.close(fd, c)
		return len(in)
	}
	return used + n
}

// answer sends p, with TLS if there is any.
func (l *loop) answer(fd int, c *conn, p []byte) {
	if l.config != nil {
		l.sealed = l.tls[fd].seal(l.sealed[:0], p)
		p = l.sealed
	}
	l.send(fd, c, p)
}

// send writes p after what is queued, and queues what the socket does not accept.
func (l *loop) send(fd int, c *conn, p []byte) {
	waits := c.rest != nil && len(c.rest.out) > 0
	if waits {
		c.rest.out = append(c.rest.out, p...)
		p = c.rest.out
	}
	if len(p) == 0 {
		return
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		if errno != unix.EAGAIN {
			return // the close follows as an event
		}
		n = 0
	}
	if int(n) < len(p) && c.rest == nil {
		c.rest = new(rest)
	}
	if int(n) < len(p) || waits {
		c.rest.out = append(c.rest.out[:0], p[n:]...)
	}
}

func (l *loop) close(fd int, c *conn) {
	if c.state > greeting {
		l.open.Add(-1)
	}
	*c = conn{}
	if l.config != nil {
		if s := l.tls[fd]; s.resume != nil {
			s.stop()
		}
		l.tls[fd] = nil
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func (l *loop) broadcast() {
	var word [8]byte
	unix.RawSyscall(unix.SYS_READ, uintptr(l.wake), uintptr(unsafe.Pointer(&word)), 8)
	l.mu.Lock()
	mail := l.mail
	l.mail = nil
	l.mu.Unlock()
	for _, frame := range mail {
		for fd := 0; fd <= l.last; fd++ {
			if c := &l.conns[fd]; c.state == listening {
				l.answer(fd, c, frame)
			}
		}
	}
}

// post queues a frame to broadcast. Any goroutine may call it.
func (l *loop) post(frame []byte) {
	l.mu.Lock()
	l.mail = append(l.mail, frame)
	l.mu.Unlock()
	unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
