package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// client is the other side of a connection. It reads frames strictly, by code
// of its own, so that it shares no mistake with the server.
type client struct {
	net.Conn
	t    testing.TB
	br   *bufio.Reader
	head string // of the last answer
}

// key is the example of RFC 6455, section 1.3, and accept the answer to it.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// handshakeFor makes a handshake, with further lines.
func handshakeFor(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n" + strings.Join(append(lines, "\r\n"), "\r\n")
}

// connect opens a connection and says nothing.
func connect(t testing.TB, srv *Server) *client {
	t.Helper()
	addr := srv.Addr()
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{Conn: nc, t: t, br: bufio.NewReader(nc)}
}

// dial opens a session.
func dial(t testing.TB, srv *Server, path string, lines ...string) *client {
	t.Helper()
	c := connect(t, srv)
	c.say(handshakeFor(path, lines...))
	if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: status %d", path, resp.StatusCode)
	}
	return c
}

func (c *client) Read(p []byte) (int, error) { return c.br.Read(p) }

// say writes bytes.
func (c *client) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the answer to a request. The body is in it, and its head is kept
// as it was.
func (c *client) answer() *http.Response {
	c.t.Helper()
	c.head = ""
	for !strings.HasSuffix(c.head, "\r\n\r\n") {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("no answer: %v", err)
		}
		c.head += line
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(c.head)), nil)
	if err != nil {
		c.t.Fatalf("malformed answer: %v", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body := make([]byte, max(resp.ContentLength, 0))
		if _, err := io.ReadFull(c.br, body); err != nil {
			c.t.Fatalf("body: %v", err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp
}

// masked is a client's frame. With fin false more fragments follow.
func masked(op Op, fin bool, payload []byte) []byte {
	b := []byte{byte(op), 0x80}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := [4]byte{0xa5, 0x5a, 0x0f, 0xf1}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

// send sends a message or control frame.
func (c *client) send(op Op, payload string) {
	c.t.Helper()
	c.say(string(masked(op, true, []byte(payload))))
}

// closePayload is the payload of a close frame.
func closePayload(code Code, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// frame reads one frame of the server: whole, not masked, without extensions and
// with the shortest length (RFC 6455, 5.1 and 5.2).
func (c *client) frame() (op Op, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("header %08b %08b", head[0], head[1])
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(c.br, b[:]); err != nil {
			return 0, nil, err
		}
		if n = uint64(binary.BigEndian.Uint16(b[:])); n < 126 {
			return 0, nil, fmt.Errorf("%d bytes in a medium length", n)
		}
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(c.br, b[:]); err != nil {
			return 0, nil, err
		}
		if n = binary.BigEndian.Uint64(b[:]); n < 1<<16 {
			return 0, nil, fmt.Errorf("%d bytes in a long length", n)
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.br, payload)
	return Op(head[0] & 0xf), payload, err
}

// want reads a frame and compares.
func (c *client) want(op Op, payload string) {
	c.t.Helper()
	gotOp, got, err := c.frame()
	if err != nil {
		c.t.Fatalf("no frame: %v", err)
	}
	if gotOp != op || string(got) != payload {
		c.t.Fatalf("got %x %.60q (%d bytes), want %x %.60q (%d bytes)", gotOp, got, len(got), op, payload, len(payload))
	}
}

// wantClose reads a close frame with a code, 0 for none.
func (c *client) wantClose(code Code) {
	c.t.Helper()
	op, payload, err := c.frame()
	if err != nil {
		c.t.Fatalf("no close frame: %v", err)
	}
	var got Code
	if len(payload) >= 2 {
		got = Code(binary.BigEndian.Uint16(payload))
	}
	// RFC 6455, 5.5.1: "If there is a body, the first two bytes of the body MUST be" it.
	if op != ws.OpClose || got != code || len(payload) == 1 || code == 0 && len(payload) > 0 {
		c.t.Fatalf("got %x %q, want a close frame with %d", op, payload, code)
	}
}

// wantEnd reads the end of the stream.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.br.ReadByte(); err != io.EOF {
		c.t.Fatalf("got %x, %v, want the end", b, err)
	}
}

// wantGone waits for the end of the connection, however it ends, and skips what
// comes before.
func (c *client) wantGone() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.br); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("still there: %v", err)
	}
}

// finish reads until a close frame, answers it, and goes. It reports the code, 0
// if there was no close frame.
func (c *client) finish() (code Code) {
	defer c.Close()
	for {
		op, payload, err := c.frame()
		if err != nil {
			return 0
		}
		if op == ws.OpClose {
			c.Conn.Write(masked(ws.OpClose, true, payload))
			if len(payload) >= 2 {
				code = Code(binary.BigEndian.Uint16(payload))
			}
			c.br.ReadByte()
			return code
		}
	}
}

// reset ends the connection with a reset.
func (c *client) reset() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// each calls f for 0 to n-1 on as many goroutines.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
