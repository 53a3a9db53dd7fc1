package server

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"unsafe"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/secure"
	"fanfare/server/internal/tlsrecord"
)

// TestTLSLayerSize pins the bytes that TLS 1.3 adds to an idle session.
func TestTLSLayerSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the figures are those of 64 bits")
	}
	// 168 bytes are the record layer with its secrets (see package tlsrecord), 24 refer from
	// the netpoll.Conn to the layer, and 8 each to the service, the handshake, a tls.Conn of
	// TLS 1.2, and what only a busy connection needs. 224 is a size class.
	if n := unsafe.Sizeof(secure.Layer{}); n != 224 {
		t.Errorf("a secure.Layer is %d bytes, want 224", n)
	}
}

// leanClient is a client of TLS 1.3 that does not allocate, so that the server's
// allocations can be counted.
type leanClient struct {
	raw  net.Conn
	rec  tlsrecord.Conn
	busy *tlsrecord.Cache
	buf  []byte
	out  []byte
	held int
}

// lean takes the connection out of a tls.Conn with whose secrets the log was written. The
// client has read and sent one record each since.
func lean(t testing.TB, c *client, log string) *leanClient {
	t.Helper()
	secrets := map[string][]byte{}
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		secrets[f[0]], _ = hex.DecodeString(f[2])
	}
	tc := c.Conn.(*tls.Conn)
	l := &leanClient{raw: tc.NetConn(), busy: &tlsrecord.Cache{Max: 1, Idle: 10}, buf: make([]byte, 64<<10)}
	if err := l.rec.Init(tc.ConnectionState().CipherSuite, secrets["SERVER_TRAFFIC_SECRET_0"], secrets["CLIENT_TRAFFIC_SECRET_0"]); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *leanClient) Write(b []byte) (int, error) {
	l.out = l.rec.Seal(l.busy, 1, l.out[:0], b)
	return l.raw.Write(l.out)
}

// read reads n bytes of plaintext.
func (l *leanClient) read(t testing.TB, n int) {
	for n > 0 {
		m, err := l.raw.Read(l.buf[l.held:])
		if err != nil {
			t.Fatal(err)
		}
		plain, rest, err := l.rec.Open(l.busy, 1, l.buf[:l.held+m])
		if err != nil {
			t.Fatal(err)
		}
		n -= len(plain)
		l.held = copy(l.buf, rest)
	}
}

// A small echo over TLS 1.3 allocates nothing, from the poller to the poller.
func TestTLSEchoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, kind := range transports {
		if kind == netpoll.Goroutine {
			continue // serves TLS with a tls.Conn
		}
		t.Run(kind.String(), func(t *testing.T) {
			srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t))})
			for _, size := range []int{16, 128, 1000} {
				log := new(bytes.Buffer)
				cfg := clientTLS(tls.VersionTLS13)
				cfg.KeyLogWriter = log
				c := connectTLS(t, srv, cfg)
				l := lean(t, c, log.String())
				request := []byte(handshakeFor("/echo"))
				l.Write(request)
				n, err := l.raw.Read(l.buf)
				if err != nil {
					t.Fatal(err)
				}
				if plain, _, err := l.rec.Open(l.busy, 1, l.buf[:n]); err != nil || !bytes.HasPrefix(plain, []byte("HTTP/1.1 101 ")) {
					t.Fatalf("%q, %v", plain, err)
				}
				payload := bytes.Repeat([]byte("x"), size)
				message := masked(Text, true, payload)
				echo := func(n int) {
					for range n {
						if _, err := l.Write(message); err != nil {
							t.Fatal(err)
						}
						l.read(t, frame.HeaderSize(size)+size)
					}
				}
				echo(100)
				const echoes = 5000
				// The clock and the runtime allocate now and then.
				if n := mallocs(func() { echo(echoes) }); n > echoes/20 {
					t.Errorf("%d allocations for %d echoes of %d bytes", n, echoes, size)
				}
			}
		})
	}
}

var _ io.Writer = (*leanClient)(nil)
