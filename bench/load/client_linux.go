package load

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Config says whom a Client loads and how.
type Config struct {
	Addr netip.AddrPort `json:"addr"`
	Host string         `json:"host"` // the Host header; empty means Addr
	// Binary sends binary messages instead of text.
	Binary bool `json:"binary,omitempty"`
	// Number tells Clients of one run apart: each dials from source addresses of its own.
	Number int `json:"number"`
	// Exclusive promises that the process does nothing but run this Client: it then waits in the kernel
	// without telling the Go scheduler, which is cheaper, and would stop a garbage collection elsewhere.
	Exclusive bool `json:"exclusive,omitempty"`
}

// A Client holds the connections. It is not safe for concurrent use.
type Client struct {
	cfg    Config
	op     byte // of the messages it sends
	epoll  int
	conns  []conn
	free   []int32 // places in conns whose connection is gone
	freed  []int32 // the same, while events of the current batch may still name them
	live   int     // connections with a finished handshake
	phase  phase
	random rand.PCG
	faults Faults

	buf, out []byte // what is being read and written; nobody keeps them
	events   [512]unix.EpollEvent
	watched  map[int32]func()
	dialled  int // connections ever begun, for the source address
}

// A phase is what the connections are doing now.
type phase interface {
	opened(c *conn)
	message(c *conn, op byte, payload []byte)
	ended(c *conn, why string) // by itself; the descriptor is already closed
}

type conn struct {
	fd    int32 // -1 when closed
	place int32 // in Client.conns
	gen   uint32
	user  uint32
	state uint8
	sent  uint32 // echoes asked for
	at    int64  // when the handshake began
	echo  order
	all   order // broadcasts
	own   order // pushes to the user
	part  *part // nil unless something is unfinished
}

type part struct {
	in, out []byte
	topics  map[uint32]*order
}

const (
	stateDialling = iota
	stateGreeting
	stateOpen
)

const noConn = ^int32(0) // with a watched descriptor in the event's other half

// New makes a Client without connections.
func New(cfg Config) (*Client, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: epoll_create1: %w", err)
	}
	c := &Client{cfg: cfg, epoll: fd, op: opText, buf: make([]byte, 256<<10), watched: map[int32]func(){}}
	if cfg.Binary {
		c.op = opBinary
	}
	c.random.Seed(rand.Uint64(), rand.Uint64())
	c.phase = resting{c}
	return c, nil
}

// Live is the number of open connections.
func (c *Client) Live() int { return c.live }

// Faults takes what went wrong so far, and starts counting anew.
func (c *Client) Faults() Faults {
	f := c.faults
	c.faults = Faults{}
	return f
}

// Watch calls ready, on the Client's goroutine, whenever the descriptor is readable.
func (c *Client) Watch(fd int, ready func()) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: noConn, Pad: int32(fd)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("load: watch descriptor %d: %w", fd, err)
	}
	c.watched[int32(fd)] = ready
	return nil
}

// Close resets every connection and ends the Client.
func (c *Client) Close() {
	for i := range c.conns {
		if k := &c.conns[i]; k.fd >= 0 {
			unix.Close(int(k.fd))
			k.fd = -1
		}
	}
	c.live = 0
	unix.Close(c.epoll)
}

// Rest answers pings until done reports true, which it is asked after each batch of events.
func (c *Client) Rest(done func() bool) {
	c.phase = resting{c}
	c.run(never, done)
}

// resting is the phase in which nothing but pings is expected.
type resting struct{ c *Client }

func (r resting) opened(*conn) {}
func (r resting) message(k *conn, _ byte, p []byte) {
	r.c.faults.count(&r.c.faults.Foreign, "user %d: a message of %d bytes at rest", k.user, len(p))
}
func (r resting) ended(k *conn, why string) {
	r.c.faults.count(&r.c.faults.Closed, "user %d: %s", k.user, why)
}

const never = int64(1<<63 - 1)

// run serves events until done or until the time is up, and reports which.
func (c *Client) run(until int64, done func() bool) (inTime bool) {
	for !done() {
		timeout := -1
		if until != never {
			left := until - Now()
			if left <= 0 {
				return false
			}
			timeout = int((left + 999_999) / 1_000_000)
		}
		c.free, c.freed = append(c.free, c.freed...), c.freed[:0]
		for _, ev := range c.wait(timeout) {
			if ev.Fd == noConn {
				c.watched[ev.Pad]()
				continue
			}
			k := &c.conns[ev.Fd]
			if k.fd < 0 || k.gen != uint32(ev.Pad) {
				continue // an event for the place's former holder
			}
			if ev.Events&unix.EPOLLOUT != 0 && (k.state == stateDialling || k.part != nil && len(k.part.out) > 0) {
				c.writable(k)
			}
			if k.fd >= 0 && ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				c.readable(k)
			}
		}
	}
	return true
}

func (c *Client) wait(timeout int) []unix.EpollEvent {
	p, size := uintptr(unsafe.Pointer(&c.events)), uintptr(len(c.events))
	wait := timeout
	if !c.cfg.Exclusive {
		wait = 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_WAIT, uintptr(c.epoll), p, size, uintptr(wait), 0, 0)
	if errno == 0 && n == 0 && wait != timeout {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_WAIT, uintptr(c.epoll), p, size, uintptr(timeout), 0, 0)
	}
	if errno != 0 {
		n = 0 // EINTR
	}
	return c.events[:n]
}

func (c *Client) readable(k *conn) {
	for k.fd >= 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(k.fd), uintptr(unsafe.Pointer(&c.buf[0])), uintptr(len(c.buf)), 0, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			c.end(k, errno.Error())
			return
		case n == 0:
			c.end(k, "closed by the server")
			return
		}
		in := c.buf[:n]
		if k.part != nil && len(k.part.in) > 0 {
			k.part.in = append(k.part.in, in...)
			in = k.part.in
		}
		used := c.feed(k, in)
		if k.fd >= 0 {
			k.keep(in[used:])
		}
		if int(n) < len(c.buf) {
			return // drained: the next byte is a new edge
		}
	}
}

// keep remembers the unfinished tail of what was read, and lets go of memory that is no longer needed.
func (k *conn) keep(tail []byte) {
	switch {
	case len(tail) > 0:
		if k.part == nil {
			k.part = new(part)
		}
		k.part.in = append(k.part.in[:0], tail...)
	case k.part == nil:
	case len(k.part.out) == 0 && k.part.topics == nil:
		k.part = nil
	default:
		k.part.in = nil
	}
}

// feed handles all that is whole in what was read and says how much that was.
func (c *Client) feed(k *conn, in []byte) (used int) {
	if k.state == stateGreeting {
		if used = c.greeted(k, in); used == 0 {
			return 0
		}
	}
	for k.fd >= 0 && used < len(in) {
		op, payload, n, err := nextFrame(in[used:])
		if err != nil {
			c.faults.count(&c.faults.Protocol, "user %d: %v", k.user, err)
			c.drop(k)
			return used
		}
		if n == 0 {
			return used
		}
		used += n
		switch op {
		case opPing:
			c.send(k, appendFrame(c.out[:0], opPong, payload, c.key()))
		case opPong:
		case opClose:
			c.send(k, appendFrame(c.out[:0], opClose, payload, c.key()))
			c.end(k, fmt.Sprintf("close frame %x %q", payload[:min(2, len(payload))], payload[min(2, len(payload)):]))
		default:
			c.phase.message(k, op, payload)
		}
	}
	return used
}

// send writes p, and keeps what the socket does not take.
func (c *Client) send(k *conn, p []byte) {
	c.out = p[:0]
	if k.part != nil && len(k.part.out) > 0 {
		k.part.out = append(k.part.out, p...)
		return
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(k.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		if errno != unix.EAGAIN {
			return // the end follows as an event
		}
		n = 0
	}
	if int(n) < len(p) {
		if k.part == nil {
			k.part = new(part)
		}
		k.part.out = append(k.part.out, p[n:]...)
	}
}

func (c *Client) writable(k *conn) {
	if k.state == stateDialling {
		c.connected(k)
		return
	}
	rest := k.part.out
	k.part.out = nil
	out := c.out
	c.send(k, rest)
	c.out = out
}

// drop closes the connection without a word to the phase.
func (c *Client) drop(k *conn) {
	if k.state == stateOpen {
		c.live--
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(k.fd), 0, 0)
	k.fd, k.part = -1, nil
	k.gen++
	c.freed = append(c.freed, k.place)
}

func (c *Client) end(k *conn, why string) {
	c.drop(k)
	c.phase.ended(k, why)
}

// key is a fresh masking key (RFC 6455 section 10.3: not to be foreseen).
func (c *Client) key() uint32 { return uint32(c.random.Uint64()) }
