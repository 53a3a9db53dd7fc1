package load

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Config configures a Client.
type Config struct {
	Addr netip.AddrPort `json:"addr"`
	Host string         `json:"host"` // the Host header; empty means Addr
	// Binary sends binary messages instead of text.
	Binary bool `json:"binary,omitempty"`
	// Number distinguishes the Clients of one run: each dials from different source addresses.
	Number int `json:"number"`
	// TLS means that the connections use TLS 1.3. Certificates are not checked.
	TLS bool `json:"tls,omitempty"`
	// Dialect is what the server speaks: Centrifugo, NATS, or nothing for plain messages.
	Dialect string `json:"dialect,omitempty"`
	// Events means that the connections are streams of server-sent events instead of WebSockets.
	Events bool `json:"events,omitempty"`
	// Exclusive means that the process only runs this Client, which then waits in the kernel without telling the Go
	// scheduler. That is cheaper, and would block a garbage collection.
	Exclusive bool `json:"exclusive,omitempty"`
}

// A Client holds the connections. It is not safe for concurrent use.
type Client struct {
	cfg    Config
	speaks *dialect // nil for plain messages
	op     byte     // of the messages it sends
	epoll  int
	conns  []conn
	parts  []*part // spare ones
	free   []int32 // free slots in conns
	freed  []int32 // the same, but events of the current batch may still refer to them
	live   int     // connections with a finished handshake
	phase  phase
	random rand.PCG
	faults Faults
	pings  int // answered

	buf, out []byte // for reading and writing; valid during one event
	plain    []byte // what TLS has decrypted; nil without TLS
	secured  int    // TLS handshakes so far
	events   [512]unix.EpollEvent
	watched  map[int32]func()
	dialled  int // connections so far, for the source address
}

// A phase is what the connections are doing now.
type phase interface {
	opened(c *conn)
	message(c *conn, op byte, payload []byte)
	ended(c *conn, why string) // not by Close; the descriptor is already closed
}

type conn struct {
	fd    int32 // -1 when closed
	place int32 // in Client.conns
	gen   uint32
	user  uint32
	state uint8
	sent  uint32 // echo requests
	at    int64  // start of the handshake
	echo  order
	all   order // broadcasts
	own   order // pushes to the user
	stuck bool  // does not read
	woken bool  // reads what was sent while it was stuck
	parts bool  // its events arrive in chunks (RFC 9112 section 7.1)

	topics []subscription
	part   *part    // nil unless something is unfinished
	tls    *secured // nil without TLS
}

type subscription struct {
	topic uint32
	order order
}

const (
	stateDialling = iota
	stateSecuring // the TLS handshake
	stateGreeting
	stateJoining // the server has not confirmed the session
	stateOpen
	stateClosing // our close frame is sent
	stateClosed  // the server's close frame is received
)

const noConn = ^int32(0) // with a watched descriptor in the event's other half

// New returns a Client without connections.
func New(cfg Config) (*Client, error) {
	speaks, err := speak(cfg.Dialect)
	if err != nil {
		return nil, err
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: epoll_create1: %w", err)
	}
	c := &Client{cfg: cfg, speaks: speaks, epoll: fd, op: opText, buf: make([]byte, 256<<10), watched: map[int32]func(){}}
	if cfg.Binary {
		c.op = opBinary
	}
	if cfg.TLS {
		c.plain = make([]byte, 64<<10)
	}
	c.random.Seed(rand.Uint64(), rand.Uint64())
	c.phase = resting{c}
	return c, nil
}

// Live returns the number of open connections.
func (c *Client) Live() int { return c.live }

// Faults returns the faults so far and resets them.
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
			k.tls.release()
		}
	}
	c.live = 0
	unix.Close(c.epoll)
}

// Pings returns the number of answered pings and resets it.
func (c *Client) Pings() int {
	n := c.pings
	c.pings = 0
	return n
}

// Rest answers pings until done reports true. It calls done after each batch of events.
func (c *Client) Rest(done func() bool) {
	c.phase = resting{c}
	c.run(never, done)
}

// Run serves the current phase until done reports true.
func (c *Client) Run(done func() bool) { c.run(never, done) }

// A timed phase has work at certain times.
type timed interface {
	tick(now int64) (next int64)
}

// resting is the phase in which only pings are expected.
type resting struct{ c *Client }

func (r resting) opened(*conn) {}
func (r resting) message(k *conn, _ byte, p []byte) {
	r.c.faults.count(&r.c.faults.Foreign, "user %d: a message of %d bytes at rest", k.user, len(p))
}
func (r resting) ended(k *conn, why string) {
	r.c.faults.count(&r.c.faults.Closed, "user %d: %s", k.user, why)
}
