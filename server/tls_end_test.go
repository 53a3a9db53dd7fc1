package server

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"fanfare/netpoll"
)

// A client that ends its half with close_notify is answered with close_notify: RFC 8446,
// 6.1. What it sent before is processed.
func TestTLSHalfClose(t *testing.T) {
	overTLS(t, func(t *testing.T, kind netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t))})
		c := dialTLS(t, srv, clientTLS(version), "/echo")
		c.send(Text, "last")
		if kind == netpoll.Goroutine { // writes pass through a queue, which the end of the stream drops
			c.want(Text, "last")
		}
		if err := c.Conn.(*tls.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if kind != netpoll.Goroutine {
			c.want(Text, "last")
		}
		c.wantEnd()
		await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// A stream that ends without close_notify may be cut by an attacker: it is not a normal end.
func TestTLSCutStream(t *testing.T) {
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		ended := make(chan CloseError, 1)
		ep := EchoEndpoint("/echo")
		ep.Hooks.OnClose = func(_ *Session, why CloseError) { ended <- why }
		srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t)), Endpoints: []Endpoint{ep}})
		c := dialTLS(t, srv, clientTLS(tls.VersionTLS13), "/echo")
		c.Conn.(*tls.Conn).NetConn().Close()
		if why := <-ended; why.Code != StatusAbnormalClosure {
			t.Errorf("the session ends with %v", why)
		}
	})
}

// A client that sends an unprotected ClientHello after the handshake is disconnected with
// an alert: RFC 8446, 4.1.2 and 5.
func TestTLSHelloAfterHandshake(t *testing.T) {
	overTLS(t, func(t *testing.T, kind netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t))})
		raw := connect(t, srv)
		tc := tls.Client(raw.Conn, clientTLS(version))
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		raw.Conn.Write(append([]byte{22, 3, 3, 0, 40, 1, 0, 0, 36}, make([]byte, 36)...))
		if _, err := io.ReadAll(tc); err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
			t.Errorf("the client gets %v, want an alert", err)
		}
		await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// A client that offers early data, and sends some, is disconnected with an alert, and
// nothing that it sent is processed: RFC 8446, 4.2.10.
func TestTLSEarlyDataOffered(t *testing.T) {
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t)), CloseTimeout: tick})
		c := connect(t, srv)
		hello := &firstWrite{Conn: c.Conn}
		tls.Client(hello, clientTLS(tls.VersionTLS13)).Handshake() // fails at once
		b := withEarlyData(hello.b)
		b = append(b, 23, 3, 3, 0, 40) // a record of early data
		c.Conn.Write(append(b, make([]byte, 40)...))
		header := make([]byte, 7)
		for header[0] != 21 { // other records of the handshake may precede the alert
			if _, err := io.ReadFull(c.Conn, header[:5]); err != nil {
				t.Fatalf("no alert: %v", err)
			}
			body := make([]byte, int(header[3])<<8+int(header[4]))
			if _, err := io.ReadFull(c.Conn, body); err != nil {
				t.Fatal(err)
			}
			copy(header[5:], body)
		}
		if header[6] != 110 { // unsupported_extension
			t.Errorf("alert %d, want 110", header[6])
		}
		await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// firstWrite keeps what is written first, and fails.
type firstWrite struct {
	net.Conn
	b []byte
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if w.b == nil {
		w.b = bytes.Clone(b)
	}
	return 0, net.ErrClosed
}

// withEarlyData adds the extension early_data to the record of a ClientHello.
func withEarlyData(record []byte) []byte {
	b := append(bytes.Clone(record), 0, 42, 0, 0)
	grow := func(at int) { binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+4) }
	at := 5 + 4 + 2 + 32                           // the session identifier
	at += 1 + int(b[at])                           // cipher suites
	at += 2 + int(binary.BigEndian.Uint16(b[at:])) // compression methods
	at += 1 + int(b[at])                           // extensions
	grow(3)                                        // the record
	grow(7)                                        // the lower half of the message's length
	grow(at)
	return b
}

// The secrets of a connection are in its layer until it is closed, and never in the log.
func TestTLSSecrets(t *testing.T) {
	if raceEnabled {
		t.Skip("the test reads memory of a connection that is in use")
	}
	log := new(logBuffer)
	srv := start(t, Config{Transport: netpoll.Epoll, TLS: NewTLS(serverTLS(t)), Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	secrets := new(bytes.Buffer)
	cfg := clientTLS(tls.VersionTLS13)
	cfg.KeyLogWriter = secrets
	c := dialTLS(t, srv, cfg, "/ws?user=u")
	layer := only(t, srv, "u").layer()
	var found [][]byte
	for line := range strings.Lines(secrets.String()) {
		if f := strings.Fields(line); strings.HasSuffix(f[0], "_TRAFFIC_SECRET_0") {
			// Inverted: in one piece they are only where they are looked for.
			secret, _ := hex.DecodeString(f[2])
			for i := range secret {
				secret[i] ^= 0xff
			}
			found = append(found, secret)
		}
	}
	if len(found) != 2 {
		t.Fatalf("%d secrets, want 2", len(found))
	}
	// The memory of the layer, where the record layer keeps its secrets.
	memory := unsafe.Slice((*byte)(unsafe.Pointer(layer)), unsafe.Sizeof(*layer))
	if !contains(memory, found[0]) || !contains(memory, found[1]) {
		t.Error("the secrets of an open connection are not found: the test looks at the wrong place")
	}
	logged := log.buf.String()
	for _, secret := range found {
		plain := bytes.Clone(secret)
		for i := range plain {
			plain[i] ^= 0xff
		}
		if strings.Contains(strings.ToLower(logged), hex.EncodeToString(plain)) || strings.Contains(logged, string(plain)) {
			t.Error("a secret is in the log")
		}
		clear(plain)
	}
	c.Conn.Close()
	await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	if contains(memory, found[0]) || contains(memory, found[1]) {
		t.Error("the layer of a closed connection has its secrets")
	}
	runtime.KeepAlive(layer)
}

// contains reports whether memory contains the bytes whose inversion is given.
func contains(memory, inverted []byte) bool {
	for i := 0; i+len(inverted) <= len(memory); i++ {
		same := true
		for j, b := range inverted {
			if memory[i+j] != b^0xff {
				same = false
				break
			}
		}
		if same {
			return true
		}
	}
	return false
}
