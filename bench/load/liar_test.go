package load

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
)

// A liar is a WebSocket server that misbehaves on request. It uses net/http and a goroutine per connection, and nothing of
// this package, so that a mistake of the client does not cancel out.
type liar struct {
	t    *testing.T
	addr netip.AddrPort
	// answer returns the frames to send for one message; nil is a correct echo.
	answer func(op byte, payload []byte) [][]byte
	// greet rewrites the response to a handshake; nil leaves it as it is.
	greet func(answer string) string

	mu    sync.Mutex
	conns []net.Conn
}

// newLiar starts a server with the given misbehaviour.
func newLiar(t *testing.T, lies ...func(*liar)) *liar {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &liar{t: t, addr: netip.MustParseAddrPort(l.Addr().String())}
	for _, lie := range lies {
		lie(s)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		all.Wait()
	})
	return s
}

func (s *liar) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	if s.greet != nil {
		answer = s.greet(answer)
	}
	s.mu.Lock()
	io.WriteString(c, answer)
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	for {
		op, payload, err := readClientFrame(r)
		if err != nil {
			return
		}
		frames := [][]byte{rawFrame(0x80|op, payload)}
		if s.answer != nil {
			frames = s.answer(op, payload)
		}
		for _, f := range frames {
			if _, err := c.Write(f); err != nil {
				return
			}
		}
		if op == opClose {
			return
		}
	}
}

// push sends frames to the i-th connection.
func (s *liar) push(i int, frames ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range frames {
		if _, err := s.conns[i].Write(f); err != nil {
			s.t.Error(err)
		}
	}
}

func readClientFrame(r io.Reader) (op byte, payload []byte, err error) {
	var h [14]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	if h[1]&0x80 == 0 {
		return 0, nil, io.ErrNoProgress // unmasked: close the connection, which fails the test
	}
	size := int(h[1] & 127)
	switch size {
	case 126:
		_, err = io.ReadFull(r, h[2:4])
		size = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(r, h[2:10])
		size = int(binary.BigEndian.Uint64(h[2:]))
	}
	if err != nil {
		return 0, nil, err
	}
	key := h[10:14]
	if _, err := io.ReadFull(r, key); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return h[0] & 15, payload, err
}

// rawFrame returns an unmasked frame with any first byte.
func rawFrame(first byte, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 127), uint64(n))
	}
	return append(f, payload...)
}
