package attack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A conn is an attacker's connection. Closing it sends a reset, so that an attack leaves no ports in TIME_WAIT for
// the next.
type conn struct {
	*net.TCPConn
	in   *bufio.Reader
	done func() bool // forgets the end of the attack
}

// perAddress connections share a source address: Linux has 28,232 ports for clients.
const perAddress = 5000

// sources are the addresses of the attackers. Healthy clients have others, so that a server can trust these addresses,
// and no others, as proxies.
var sources = netip.MustParsePrefix("127.220.0.0/16")

// dial connects the i-th attacker, from a loopback address if the server has one. It counts a failure and returns
// nil.
func (m *attackers) dial(i int) *conn {
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			// As on an Ethernet: for segments of 64 KiB the kernel reserves megabytes per connection.
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10)
		})
	}}
	if m.Addr.Addr().IsLoopback() {
		from := sources.Addr().As4()
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(from[0], from[1], byte(i/perAddress/250), byte(1+i/perAddress%250))}
	}
	nc, err := d.DialContext(m.ctx, "tcp", m.Addr.String())
	if err != nil {
		if !m.over() {
			m.count(word(err))
		}
		return nil
	}
	return m.adopt(nc)
}

// adopt makes a conn whose reads and writes fail when the attack is over.
func (m *attackers) adopt(nc net.Conn) *conn {
	tc := nc.(*net.TCPConn)
	tc.SetLinger(0)
	done := context.AfterFunc(m.ctx, func() { tc.SetDeadline(time.Unix(1, 0)) })
	return &conn{tc, bufio.NewReaderSize(tc, 512), done}
}

// Close resets the connection.
func (c *conn) Close() error {
	c.done()
	return c.TCPConn.Close()
}

// request returns a handshake request.
func request(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// open connects and completes the handshake. It counts the outcome, and returns nil if that is a failure.
func (m *attackers) open(i int, path string, headers ...string) *conn {
	c := m.dial(i)
	if c == nil {
		return nil
	}
	if _, err := io.WriteString(c, request(path, headers...)); err != nil {
		m.count(c.end(err))
		return nil
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		m.count(c.end(err))
		return nil
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		m.count(rejected(resp))
		c.Close()
		return nil
	}
	if m.over() {
		c.Close() // perhaps in the place of an attacker that has just left
		return nil
	}
	m.count("opened")
	return c
}

// rejected describes a rejection.
func rejected(resp *http.Response) string {
	what := fmt.Sprint("rejected ", resp.StatusCode)
	if resp.Header.Get("Retry-After") != "" {
		what += ", Retry-After"
	}
	return what
}

// end closes the connection and describes how it ended.
func (c *conn) end(err error) string {
	c.Close()
	return word(err)
}

func word(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "ended"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open at the end"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no port"
	case errors.Is(err, syscall.EMFILE):
		return "no descriptor"
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	return err.Error()
}

// Opcodes, RFC 6455 section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opClose        = 8
	opPing         = 9
	opPong         = 10
	fin            = 0x80
	compressed     = 0x40 // RFC 7692 section 6
)

// head is the header of a frame with the mask 0, under which the payload stays as it is.
func head(first byte, length uint64) []byte {
	b := []byte{first, 0x80}
	switch {
	case length < 126:
		b[1] |= byte(length)
	case length < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, length)
	}
	return append(b, 0, 0, 0, 0)
}

func frame(first byte, payload []byte) []byte {
	return append(head(first, uint64(len(payload))), payload...)
}

// drain reads until the connection ends, and describes how: "closed 1009" means that the server sent a close frame.
// It answers pings if answer is set.
func (c *conn) drain(answer bool) string {
	defer c.Close()
	for {
		op, payload, err := c.next()
		switch {
		case err != nil:
			return word(err)
		case op == opClose && len(payload) >= 2:
			return fmt.Sprint("closed ", binary.BigEndian.Uint16(payload))
		case op == opClose:
			return "closed"
		case op == opPing && answer:
			c.Write(frame(fin|opPong, payload))
		}
	}
}

// next reads a frame. It discards a payload of more than 125 bytes.
func (c *conn) next() (op byte, payload []byte, err error) {
	var b [10]byte
	if _, err := io.ReadFull(c.in, b[:2]); err != nil {
		return 0, nil, err
	}
	length := uint64(b[1])
	switch length {
	case 126:
		_, err = io.ReadFull(c.in, b[2:4])
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		_, err = io.ReadFull(c.in, b[2:10])
		length = binary.BigEndian.Uint64(b[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	if length > 125 {
		_, err = io.CopyN(io.Discard, c.in, int64(length))
		return b[0] & 15, nil, err
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(c.in, payload)
	return b[0] & 15, payload, err
}
