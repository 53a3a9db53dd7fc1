package load

import (
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"net"
	"os"
	"runtime"
	"time"
)

// A secured is the TLS of a connection, and the net.Conn that crypto/tls sees. The handshake is a coroutine, which waits
// in Read for bytes. Later a Read without bytes fails like one that has timed out, which crypto/tls takes for temporary.
type secured struct {
	c    *Client
	slot int32 // of the connection in Client.conns
	conn *tls.Conn
	in   []byte // received, not read by conn
	at   int    // where in in conn reads on
	err  error  // of the handshake

	resume func() (struct{}, bool) // continues the handshake; nil after it
	stop   func()
	wait   func(struct{}) bool // suspends the handshake
}

// clientTLS offers what the servers have in common. The certificates were made for the run.
var clientTLS = &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}

// collectEvery handshakes a Client with TLS collects the garbage, about 75 KiB of each: workers turn off the collector.
const collectEvery = 1000

// secure begins the TLS handshake of a connection.
func (c *Client) secure(k *conn) {
	k.state = stateSecuring
	s := &secured{c: c, slot: k.place}
	s.conn = tls.Client(s, clientTLS)
	s.resume, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.wait = yield
		s.err = s.conn.Handshake()
	})
	k.tls = s
	s.resume() // sends the ClientHello
	if c.secured++; c.secured%collectEvery == 0 {
		runtime.GC()
	}
}

// takeSealed handles bytes of a connection with TLS.
func (c *Client) takeSealed(k *conn, b []byte) {
	s := k.tls
	s.in = append(s.in[:copy(s.in, s.in[s.at:])], b...)
	s.at = 0
	if s.resume != nil {
		if _, waits := s.resume(); waits {
			return
		}
		s.resume, s.stop, s.wait = nil, nil, nil
		if s.err != nil {
			c.end(k, "TLS: "+s.err.Error())
			return
		}
		c.request(k)
	}
	for k.tls == s {
		n, err := s.conn.Read(c.plain)
		if n > 0 {
			c.take(k, c.plain[:n])
			continue
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || k.tls != s:
		case err == io.EOF:
			c.end(k, "closed by the server")
		default:
			c.end(k, "TLS: "+err.Error())
		}
		return
	}
}

// release ends a handshake that is not over.
func (s *secured) release() {
	if s != nil && s.resume != nil {
		s.stop()
	}
}

// Read implements net.Conn for crypto/tls.
func (s *secured) Read(p []byte) (int, error) {
	for s.at == len(s.in) {
		if s.wait == nil {
			return 0, os.ErrDeadlineExceeded
		}
		if !s.wait(struct{}{}) {
			return 0, net.ErrClosed
		}
	}
	n := copy(p, s.in[s.at:])
	s.at += n
	return n, nil
}

// Write implements net.Conn for crypto/tls.
func (s *secured) Write(p []byte) (int, error) {
	s.c.sendWire(&s.c.conns[s.slot], p)
	return len(p), nil
}

// The rest of net.Conn is not used.

func (s *secured) Close() error                     { return nil }
func (s *secured) LocalAddr() net.Addr              { return nil }
func (s *secured) RemoteAddr() net.Addr             { return nil }
func (s *secured) SetDeadline(time.Time) error      { return nil }
func (s *secured) SetReadDeadline(time.Time) error  { return nil }
func (s *secured) SetWriteDeadline(time.Time) error { return nil }
