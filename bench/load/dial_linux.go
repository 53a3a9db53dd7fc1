package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// A DialPlan opens connections.
type DialPlan struct {
	Count  int           `json:"count"`
	First  uint32        `json:"first"`            // the user number of the first; the others count up
	Window int           `json:"window"`           // pending handshakes
	Limit  time.Duration `json:"limit"`            // for all handshakes together
	Path   string        `json:"path"`             // request target; {user} stands for the user, {token} for its token, {topics} for the subscriptions
	Topics *Topics       `json:"topics,omitempty"` // what the users subscribe to
	Tokens []string      `json:"tokens,omitempty"` // of the users, in order; nil: they have none
	Unread int           `json:"unread,omitempty"` // stored messages of a user, which the server sends at once
	Every  int           `json:"every,omitempty"`  // only every so many users have them, number 0 among them; 0: all have
	MSS    int           `json:"mss,omitempty"`    // largest segment of TCP; 0 is what the device allows
}

// A DialResult is the result of a DialPlan.
type DialResult struct {
	Opened  int                     `json:"opened"`
	Unread  int                     `json:"unread,omitempty"` // stored messages received
	Elapsed time.Duration           `json:"elapsed"`
	Latency *hdrhistogram.Histogram `json:"-"` // from socket(2) to the last byte of the answer, nanoseconds
}

type dialling struct {
	c       *Client
	plan    DialPlan
	begun   int
	over    int // opened or failed
	opens   int
	due     int // stored messages of the users that have connected
	unread  int // of those, received
	latency *hdrhistogram.Histogram
}

// Dial opens plan.Count connections. Faults counts failures.
func (c *Client) Dial(plan DialPlan) DialResult {
	d := &dialling{c: c, plan: plan, latency: newHistogram()}
	c.phase = d
	c.conns = slices.Grow(c.conns, plan.Count) // so that no connection moves while a phase holds pointers
	start := Now()
	for range min(plan.Window, plan.Count) {
		d.next()
	}
	if !c.run(start+int64(plan.Limit), func() bool { return d.over == plan.Count && d.unread == d.due }) {
		if missing := plan.Count - d.over; missing > 0 {
			c.faults.count(&c.faults.Late, "%d of %d handshakes unfinished after %v", missing, plan.Count, plan.Limit)
			c.faults.Late += missing - 1
		}
		if missing := d.due - d.unread; missing > 0 {
			c.faults.count(&c.faults.Lost, "%d of %d stored messages not received after %v", missing, d.due, plan.Limit)
			c.faults.Lost += missing - 1
		}
	}
	c.phase = resting{c}
	return DialResult{Opened: d.opens, Unread: d.unread, Elapsed: time.Duration(Now() - start), Latency: d.latency}
}

func (d *dialling) next() {
	for d.begun < d.plan.Count {
		user := d.plan.First + uint32(d.begun)
		d.begun++
		err := d.c.dial(user, Now(), d.plan.MSS)
		if err == nil {
			return
		}
		d.c.faults.count(&d.c.faults.Refused, "user %d: %v", user, err)
		d.over++
	}
}

func (d *dialling) opened(k *conn) {
	if d.plan.Topics != nil {
		for _, t := range d.plan.Topics.Of(k.user) {
			k.topics = append(k.topics, subscription{topic: t, order: startingAt(0)})
		}
	}
	k.own = startingAt(0)
	if unread := d.plan.unreadOf(k.user); unread > 0 {
		d.due += unread
	} else {
		record(d.latency, Now()-k.at)
	}
	d.opens++
	d.over++
	d.next()
}

// unreadOf returns how many stored messages a user has.
func (p *DialPlan) unreadOf(user uint32) int {
	if p.Every > 1 && user%uint32(p.Every) != 0 {
		return 0
	}
	return p.Unread
}

// message checks a stored message of the user, in order and once. The latency of a handshake with stored messages ends
// with the last of them.
func (d *dialling) message(k *conn, op byte, p []byte) {
	unread := d.plan.unreadOf(k.user)
	if unread == 0 {
		resting{d.c}.message(k, op, p)
		return
	}
	f := &d.c.faults
	m, ok := Parse(p)
	switch {
	case !ok:
		f.count(&f.Corrupt, "user %d: %d bytes replayed: %.60q", k.user, len(p), p)
	case m.Kind != KindUser || m.Target != k.user || int(m.Seq) >= unread:
		f.count(&f.Foreign, "user %d: message %c%d for %d replayed", k.user, m.Kind, m.Seq, m.Target)
	case k.own.check(m.Seq, f, func() string { return fmt.Sprintf("user %d, stored", k.user) }):
		d.unread++
		if int(k.own.next) == unread {
			record(d.latency, Now()-k.at)
		}
	}
}

func (d *dialling) ended(k *conn, why string) {
	if k.state == stateOpen {
		resting{d.c}.ended(k, why)
		return
	}
	d.c.faults.count(&d.c.faults.Refused, "user %d: %s", k.user, why)
	d.over++
	d.next()
}

// perSource connections share a source address: well below the 28,232 ports that Linux has for clients.
const perSource = 5000

// dial starts a handshake that was due at a given time.
func (c *Client) dial(user uint32, at int64, mss int) error {
	family := unix.AF_INET
	if c.cfg.Addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	// Without Nagle's delay. Close sends a reset, so that no run leaves ports in TIME_WAIT for the next.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if mss != 0 {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss)
	}
	if ip := c.cfg.Addr.Addr(); ip.Is4() && ip.IsLoopback() {
		block := c.dialled / perSource
		source := &unix.SockaddrInet4{Addr: [4]byte{127, byte(10 + c.cfg.Number%200), byte(block / 250), byte(1 + block%250)}}
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, source); err != nil {
			unix.Close(fd)
			return fmt.Errorf("bind %v: %w", source.Addr, err)
		}
	}
	c.dialled++
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(c.cfg.Addr.Port()), Addr: c.cfg.Addr.Addr().As16()}
	if family == unix.AF_INET {
		to = &unix.SockaddrInet4{Port: int(c.cfg.Addr.Port()), Addr: c.cfg.Addr.Addr().As4()}
	}
	err = unix.Connect(fd, to)
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return fmt.Errorf("connect: %w", err)
	}
	k := c.place()
	*k = conn{fd: int32(fd), place: k.place, gen: k.gen, user: user, at: at}
	if err == nil {
		c.connected(k)
	}
	if err := c.listen(k); err != nil {
		c.drop(k)
		return err
	}
	return nil
}

// listen registers the connection for events.
func (c *Client) listen(k *conn) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: k.place, Pad: int32(k.gen)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, int(k.fd), &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (c *Client) place() *conn {
	if n := len(c.free); n > 0 {
		k := &c.conns[c.free[n-1]]
		c.free = c.free[:n-1]
		return k
	}
	c.conns = append(c.conns, conn{place: int32(len(c.conns))})
	return &c.conns[len(c.conns)-1]
}
