package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
	"github.com/valyala/fasthttp"
)

// Package server_test sets these, which may import fasthttpmount.
var (
	FastHTTPHandler func(*Mount) fasthttp.RequestHandler
	FastHTTPUpgrade func(*Mount, *fasthttp.RequestCtx, Identity) error
)

// A host is an HTTP server of another kind that an endpoint is mounted in. It
// sets all the timeouts that it has, so that one which stays on a connection
// that was hijacked is noticed.
type host struct {
	name  string
	tls   bool
	serve func(t testing.TB, ln net.Listener, m *Mount)
}

const hostTimeout = 2 * time.Second

var hosts = []host{
	{"net/http", false, serveNetHTTP},
	{"net/http TLS", true, serveNetHTTP},
	{"fasthttp", false, serveFast(false)},
	{"fasthttp KeepHijackedConns", false, serveFast(true)},
	{"fasthttp TLS", true, serveFast(false)},
	{"fasthttp TLS KeepHijackedConns", true, serveFast(true)},
}

func serveNetHTTP(t testing.TB, ln net.Listener, m *Mount) {
	serveHandler(t, ln, m)
}

func serveHandler(t testing.TB, ln net.Listener, h http.Handler) {
	hs := &http.Server{Handler: h, ReadTimeout: hostTimeout, WriteTimeout: hostTimeout, IdleTimeout: hostTimeout,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	serveUntilEnd(t, func() { hs.Serve(ln) }, func() { hs.Close() })
}

func serveFast(keep bool) func(testing.TB, net.Listener, *Mount) {
	return func(t testing.TB, ln net.Listener, m *Mount) {
		hs := &fasthttp.Server{Handler: FastHTTPHandler(m), KeepHijackedConns: keep, ReadTimeout: hostTimeout, WriteTimeout: hostTimeout, IdleTimeout: hostTimeout,
			ReadBufferSize:        64 << 10,              // what it may have read ahead
			MaxIdleWorkerDuration: 50 * time.Millisecond, // a goroutine of its pool outlives it for so long
			Logger:                log.New(io.Discard, "", 0)}
		serveUntilEnd(t, func() { hs.Serve(ln) }, func() { hs.Shutdown() })
	}
}

func serveUntilEnd(t testing.TB, serve, stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve()
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// bare makes a server that only mounts, and one mount of ep.
func bare(t testing.TB, cfg Config, ep Endpoint) (*Server, *Mount) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	m, err := srv.Mount(ep)
	if err != nil {
		t.Fatal(err)
	}
	return srv, m
}

// in serves a mount in a host, and returns how to connect to it.
func in(t testing.TB, h host, m *Mount) (dial func() *guest) {
	t.Helper()
	ln := loopback(t)
	addr := ln.Addr().String()
	if h.tls {
		certificate, roots := testCertificate(t)
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate}})
		h.serve(t, ln, m)
		return func() *guest {
			return newGuest(t, func() (net.Conn, error) {
				return tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "example.com"})
			})
		}
	}
	h.serve(t, ln, m)
	return func() *guest { return newGuest(t, func() (net.Conn, error) { return net.Dial("tcp", addr) }) }
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// guest is a client that writes its requests by hand.
type guest struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func newGuest(t testing.TB, connect func() (net.Conn, error)) *guest {
	t.Helper()
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &guest{c, t, bufio.NewReader(c)}
}

func (g *guest) Read(p []byte) (int, error) { return g.r.Read(p) }

// knock is a request that is accepted, with further header lines.
func knock(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// ask sends a request and reads the answer, with its body.
func (g *guest) ask(request string) (*http.Response, string) {
	g.t.Helper()
	io.WriteString(g, request)
	resp, err := http.ReadResponse(g.r, &http.Request{Method: "GET"})
	if err != nil {
		g.t.Fatalf("no answer: %v", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp, string(body)
}

func (g *guest) enter(request string) {
	g.t.Helper()
	resp, body := g.ask(request)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		g.t.Fatalf("%s: %s", resp.Status, body)
	}
	// The example of RFC 6455, section 1.3.
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		g.t.Fatalf("Sec-WebSocket-Accept is %q", got)
	}
}

func (g *guest) wantText(want string) {
	g.t.Helper()
	if got, err := wsutil.ReadServerText(g); err != nil || string(got) != want {
		g.t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func (g *guest) say(text string) {
	g.t.Helper()
	if err := wsutil.WriteClientText(g, []byte(text)); err != nil {
		g.t.Fatal(err)
	}
}

// eventually waits for what follows soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc/self/fd: ", err)
	}
	return len(list)
}

// testCertificate is that of httptest, for example.com.
func testCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	return ts.TLS.Certificates[0], roots
}
