package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
)

// overTLS runs a test for each transport with TLS 1.3 and 1.2.
func overTLS(t *testing.T, test func(t *testing.T, transport netpoll.Transport, version uint16)) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
			t.Run(tls.VersionName(version), func(t *testing.T) { test(t, transport, version) })
		}
	})
}

// issue returns a certificate, signed by parent or by itself.
func issue(t testing.TB, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     parent == nil, BasicConstraintsValid: true,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func serverTLS(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{issue(t, "server.test", nil)}}
}

func clientTLS(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

// connectTLS opens a connection with TLS.
func connectTLS(t testing.TB, srv *Server, cfg *tls.Config) *client {
	t.Helper()
	c := connect(t, srv)
	tc := tls.Client(c.Conn, cfg)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn, c.br = tc, bufio.NewReader(tc)
	return c
}

// dialTLS opens a session with TLS.
func dialTLS(t testing.TB, srv *Server, cfg *tls.Config, path string, lines ...string) *client {
	t.Helper()
	c := connectTLS(t, srv, cfg)
	c.say(handshakeFor(path, lines...))
	if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: status %d", path, resp.StatusCode)
	}
	return c
}

func TestTLSEcho(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		echo := EchoEndpoint("/echo")
		echo.Rules.MaxMessage = 1 << 20
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t)), Endpoints: []Endpoint{echo}, QueueBytes: 1 << 20})
		c := dialTLS(t, srv, clientTLS(version), "/echo")
		for _, n := range []int{0, 1, 125, 126, 16<<10 - 10, 16 << 10, 64 << 10, 100_000} {
			text := strings.Repeat("0123456789", n/10+1)[:n]
			c.send(Text, text)
			c.want(Text, text)
		}
		c.send(Op(9), "ping")
		c.want(Op(10), "ping")
		c.send(Op(8), closePayload(1000, ""))
		c.wantClose(1000)
		c.wantEnd() // and not an unexpected end: close_notify has come
		await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// Many messages in one write are answered; the client sends them in records of all sizes.
func TestTLSManyMessages(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		c := dialTLS(t, srv, clientTLS(version), "/echo")
		var all []byte
		for i := range 2000 {
			all = append(all, masked(Text, true, []byte(fmt.Sprint("message ", i)))...)
		}
		go func() {
			for i, n := 0, 1; i < len(all); n = n%5000 + 37 {
				end := min(len(all), i+n)
				c.Conn.Write(all[i:end])
				i = end
			}
		}()
		for i := range 2000 {
			c.want(Text, fmt.Sprint("message ", i))
		}
	})
}

func TestTLSPushAndBroadcast(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t)), QueueBytes: 4 << 20})
		var clients []*client
		for i := range 20 {
			clients = append(clients, dialTLS(t, srv, clientTLS(version), fmt.Sprintf("/ws?user=u%d", i)))
		}
		for round := range 20 {
			text := strings.Repeat("x", 1+round*1000)
			if d, err := srv.Broadcast(context.Background(), NewMessage(Text, []byte(text))); d.Receivers != 20 || err != nil {
				t.Fatalf("broadcast: %+v, %v", d, err)
			}
			if d, err := srv.Push(context.Background(), "u7", NewMessage(Text, []byte("you"))); d.Receivers != 1 || err != nil {
				t.Fatalf("push: %+v, %v", d, err)
			}
			for i, c := range clients {
				c.want(Text, text)
				if i == 7 {
					c.want(Text, "you")
				}
			}
		}
	})
}

// A client that reads late gets everything that its queue holds, in order.
func TestTLSSlowReader(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t)), QueueBytes: 64 << 20, MaxPayload: 1 << 20})
		c := dialTLS(t, srv, clientTLS(version), "/ws?user=u")
		c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(64 << 10) // so that the server must queue
		const messages, size = 80, 100_001
		for i := range messages {
			m := NewMessage(Text, bytes.Repeat([]byte{byte('a' + i%26)}, size))
			if d, err := srv.Push(context.Background(), "u", m); d.Receivers != 1 || err != nil {
				t.Fatal(d, err)
			}
		}
		if n := only(t, srv, "u").Queued(); n < 10*size {
			t.Errorf("%d bytes are queued: the test needs more messages", n)
		}
		for i := range messages {
			c.want(Text, strings.Repeat(string(rune('a'+i%26)), size))
		}
	})
}

// Dropping the oldest messages of a full queue leaves the stream of records whole.
func TestTLSDropOldest(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		c := dialTLS(t, srv, clientTLS(version), "/ws?user=u")
		c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(64 << 10)
		const messages, size = 5000, 1000
		for i := range messages {
			text := fmt.Sprintf("%06d", i) + strings.Repeat("x", size)
			srv.Broadcast(context.Background(), NewMessage(Text, []byte(text)))
		}
		if srv.Stats().Dropped["full"] == 0 {
			t.Fatal("nothing was dropped: the test needs more messages")
		}
		last := -1
		for last < messages-1 {
			op, payload, err := c.frame()
			if err != nil || op != Text || len(payload) != 6+size {
				t.Fatalf("after message %d: %x, %d bytes, %v", last, op, len(payload), err)
			}
			var n int
			fmt.Sscanf(string(payload[:6]), "%d", &n)
			if n <= last {
				t.Fatalf("message %d after %d", n, last)
			}
			last = n
		}
	})
}

// A client that speaks something else than TLS to the TLS port is in the log with the cause, and
// with a status if it gets one.
func TestTLSRejectionLog(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		log := new(logBuffer)
		logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t)), Logger: logger})
		for said, want := range map[string]string{
			"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n":           `status=400 text="an HTTP request without TLS arrived at a listener with TLS: use wss:// or https://"`,
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":              `status=400 text="an HTTP request without TLS arrived at a listener with TLS: use wss:// or https://"`,
			"\x00\x01\x02\x03\x04\x05\x06\x07":              `msg="handshake rejected" text="TLS handshake failed: `,
			"\x16\x03\x01\x00\x05" + strings.Repeat("x", 5): `msg="handshake rejected" text="TLS handshake failed: `,
		} {
			before, lines := log.count(want), log.count("handshake rejected")
			c := connect(t, srv)
			c.say(said)
			io.ReadAll(c)
			await(t, "logged: "+want, func() bool { return log.count(want) == before+1 })
			if n := log.count("handshake rejected"); n != lines+1 || log.count("status=0") > 0 {
				t.Errorf("%q: %d lines", said, n-lines)
			}
		}
		st := srv.Stats()
		if st.Rejected["400"] != 2 || st.TLS.Failures["plain_http"] != 2 || st.TLS.Failures["not_tls"] != 1 || st.TLS.Failures["other"] != 1 {
			t.Errorf("rejected %v, TLS %+v", st.Rejected, st.TLS)
		}
	})
}

// A client that speaks HTTP to the TLS port learns why it fails.
func TestTLSPlainHTTP(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		c := connect(t, srv)
		c.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.0 400 ") || !strings.Contains(string(got), "client sent an HTTP request to an HTTPS server") {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A TLS handshake at a listener without TLS leaves one line in the log.
func TestTLSHelloOnPlainListener(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		log := new(logBuffer)
		srv, clock := startStopped(t, Config{Transport: transport, Logger: log.logger()})
		for range 3 {
			c := connect(t, srv)
			if err := tls.Client(c.Conn, clientTLS(tls.VersionTLS13)).Handshake(); err == nil {
				t.Error("the handshake succeeds")
			}
			await(t, "it is counted", func() bool { return srv.stats.Rejected[400].Load() > 0 })
		}
		await(t, "all are counted", func() bool { return srv.stats.Rejected[400].Load() == 3 })
		clock.pass(11 * time.Second)
		if n := log.count(`reason="TLS handshake at a listener without TLS" count=3`); n != 1 {
			t.Errorf("%d lines, want 1: %s", n, log.buf.String())
		}
	})
}

// Silent clients, and clients that stop in the middle of the handshake, are closed.
func TestTLSHandshakeTimeout(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, clock := startStopped(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		silent := connect(t, srv)
		half := connect(t, srv)
		half.say("\x16\x03\x01\x02\x00half of a hello")
		hello := connect(t, srv) // sends a hello, and nothing after it
		go tls.Client(onlyFirstWrite{hello.Conn, new(bool)}, clientTLS(tls.VersionTLS13)).Handshake()
		await(t, "all are there", func() bool { return srv.connections.Load() == 3 })
		if srv.tls != nil && transport != netpoll.Goroutine {
			await(t, "the hello is answered", func() bool { return srv.tls.Stats().Running == 1 })
		}
		clock.pass(10*time.Second + tick)
		clock.pass(5*time.Second + tick)
		await(t, "all are gone", func() bool { return srv.connections.Load() == 0 })
		silent.wantGone()
		half.wantGone()
		await(t, "no handshake is left", func() bool { return srv.tls.Stats().Running == 0 })
		if n := srv.memory.Held(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}

type onlyFirstWrite struct {
	net.Conn
	done *bool
}

func (w onlyFirstWrite) Write(p []byte) (int, error) {
	if *w.done {
		return len(p), nil
	}
	*w.done = true
	return w.Conn.Write(p)
}

func TestTLSConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		cfg  *tls.Config
		want string
	}{
		{&tls.Config{}, "TLS has no certificate: set Certificates, GetCertificate or GetConfigForClient"},
		{&tls.Config{Certificates: make([]tls.Certificate, 1), MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12},
			"TLS has the MinVersion TLS 1.3, which is later than the MaxVersion TLS 1.2"},
	} {
		if err := (Config{TLS: NewTLS(tt.cfg)}).Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}
