package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// A DialPlan is a storm of handshakes.
type DialPlan struct {
	Count  int           `json:"count"`
	First  uint32        `json:"first"`            // the user number of the first; the others count up
	Window int           `json:"window"`           // handshakes under way at once
	Path   string        `json:"path"`             // request target; {user} stands for the user number
	Limit  time.Duration `json:"limit"`            // for the whole storm
	Header string        `json:"header,omitempty"` // further header lines, each ended by CRLF
}

// A DialResult is what came of it.
type DialResult struct {
	Opened  int                     `json:"opened"`
	Elapsed time.Duration           `json:"elapsed"`
	Latency *hdrhistogram.Histogram `json:"-"` // from socket(2) to the last byte of the answer, nanoseconds
}

type dialling struct {
	c       *Client
	plan    DialPlan
	begun   int
	over    int // opened or failed
	opens   int
	latency *hdrhistogram.Histogram
}

// Dial opens plan.Count connections. What fails is counted in Faults.
func (c *Client) Dial(plan DialPlan) DialResult {
	d := &dialling{c: c, plan: plan, latency: newHistogram()}
	c.phase = d
	c.conns = slices.Grow(c.conns, plan.Count) // so that no connection moves while a phase holds pointers
	start := Now()
	for range min(plan.Window, plan.Count) {
		d.next()
	}
	if !c.run(start+int64(plan.Limit), func() bool { return d.over == plan.Count }) {
		c.faults.count(&c.faults.Late, "%d of %d handshakes unfinished after %v", plan.Count-d.over, plan.Count, plan.Limit)
		c.faults.Late += plan.Count - d.over - 1
	}
	c.phase = resting{c}
	return DialResult{Opened: d.opens, Elapsed: time.Duration(Now() - start), Latency: d.latency}
}

func (d *dialling) next() {
	for d.begun < d.plan.Count {
		user := d.plan.First + uint32(d.begun)
		d.begun++
		err := d.c.dial(user)
		if err == nil {
			return
		}
		d.c.faults.count(&d.c.faults.Refused, "user %d: %v", user, err)
		d.over++
	}
}

func (d *dialling) opened(k *conn) {
	record(d.latency, Now()-k.at)
	d.opens++
	d.over++
	d.next()
}

func (d *dialling) message(k *conn, op byte, p []byte) { resting{d.c}.message(k, op, p) }

func (d *dialling) ended(k *conn, why string) {
	if k.state == stateOpen {
		resting{d.c}.ended(k, why)
		return
	}
	d.c.faults.count(&d.c.faults.Refused, "user %d: %s", k.user, why)
	d.over++
	d.next()
}

// perSource is how many connections leave one source address: well below the 28,232 ports that Linux gives out.
const perSource = 5000

func (c *Client) dial(user uint32) error {
	at := Now()
	family := unix.AF_INET
	if c.cfg.Addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	// Without Nagle's delay; and a close resets, so that no run leaves its ports in TIME_WAIT for the next.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
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
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: k.place, Pad: int32(k.gen)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		c.drop(k)
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

// connected sends the request of the opening handshake (RFC 6455 section 4.1).
func (c *Client) connected(k *conn) {
	k.state = stateGreeting
	d, _ := c.phase.(dialer)
	path, header := d.request(k.user)
	host := c.cfg.Host
	if host == "" {
		host = c.cfg.Addr.String()
	}
	b := c.out[:0]
	b = append(append(append(b, "GET "...), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	b = append(k.appendKey(b), "\r\n"...)
	b = append(append(b, header...), "\r\n"...)
	c.send(k, b)
}

// A dialer is a phase that opens connections.
type dialer interface {
	request(user uint32) (path, header string)
}

func (d *dialling) request(user uint32) (path, header string) {
	return strings.ReplaceAll(d.plan.Path, "{user}", strconv.Itoa(int(user))), d.plan.Header
}

// appendKey appends the nonce: 16 bytes that only this connection has, and that need not be stored.
func (k *conn) appendKey(dst []byte) []byte {
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], uint64(k.at))
	binary.BigEndian.PutUint32(nonce[8:], k.user)
	binary.BigEndian.PutUint32(nonce[12:], uint32(k.fd))
	return base64.StdEncoding.AppendEncode(dst, nonce[:])
}

// greeted reads the answer of the opening handshake; used is 0 while it is not whole.
func (c *Client) greeted(k *conn, in []byte) (used int) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		if len(in) > 16<<10 {
			c.end(k, "the answer to the handshake has no end")
		}
		return 0
	}
	if why := k.refusal(in[:end+2]); why != "" {
		c.end(k, why)
		return 0
	}
	k.state = stateOpen
	c.live++
	c.phase.opened(k)
	return end + 4
}

// refusal says what is wrong with the server's answer (RFC 6455 section 4.1, the list of its second half).
func (k *conn) refusal(head []byte) string {
	status, rest, _ := strings.Cut(string(head), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return "handshake: " + status
	}
	key := append(k.appendKey(nil), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)
	sum := sha1.Sum(key)
	want := base64.StdEncoding.EncodeToString(sum[:])
	var accepted, upgrade, connection bool
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Sec-WebSocket-Accept"):
			accepted = value == want
		case strings.EqualFold(name, "Upgrade"):
			upgrade = strings.EqualFold(value, "websocket")
		case strings.EqualFold(name, "Connection"):
			connection = strings.Contains(strings.ToLower(value), "upgrade")
		case strings.EqualFold(name, "Sec-WebSocket-Extensions"):
			return "handshake: an extension that was not offered"
		}
	}
	if !accepted || !upgrade || !connection {
		return fmt.Sprintf("handshake: Sec-WebSocket-Accept right %t, Upgrade right %t, Connection right %t", accepted, upgrade, connection)
	}
	return ""
}
