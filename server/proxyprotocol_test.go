package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
)

// Addresses of the tests: a proxy of Config.ProxyProtocol, and a stranger.
const proxyAddr, strangerAddr = "127.0.0.2", "127.0.0.1"

var proxyNetworks = []netip.Prefix{netip.MustParsePrefix(proxyAddr + "/32")}

const (
	header1   = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
	header2   = "\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x2d\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "0123456789abcdef\x12\x67\x01\xbb\x04\x00\x06123456"
	headerOwn = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// connectVia opens a connection from an address, and sends a header before TLS, if there is
// any. cut sends it byte by byte.
func connectVia(t *testing.T, srv *Server, from, header string, version uint16, cut bool) (*client, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	pieces := []string{header}
	if cut {
		pieces = strings.Split(header, "")
	}
	for _, p := range pieces {
		io.WriteString(nc, p)
	}
	c := &client{Conn: nc, t: t, br: bufio.NewReader(nc)}
	if version != 0 {
		tc := tls.Client(nc, clientTLS(version))
		if err := tc.Handshake(); err != nil {
			return c, err
		}
		c.Conn, c.br = tc, bufio.NewReader(tc)
	}
	return c, nil
}

// overProxies runs a test on each transport without TLS, with TLS 1.3 and with 1.2.
func overProxies(t *testing.T, test func(t *testing.T, cfg Config, version uint16)) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, version := range []uint16{0, tls.VersionTLS13, tls.VersionTLS12} {
			cfg := Config{Transport: transport, ProxyProtocol: proxyNetworks}
			if version != 0 {
				cfg.TLS = NewTLS(serverTLS(t))
			}
			t.Run(tls.VersionName(version), func(t *testing.T) { test(t, cfg, version) })
		}
	})
}

// The client that the header names is the session's, and is the one that is limited.
func TestProxyProtocol(t *testing.T) {
	overProxies(t, func(t *testing.T, cfg Config, version uint16) {
		cfg.ConnectionsPerIP = 1
		closed := make(chan string, 10)
		push := PushEndpoint("/ws")
		push.Hooks.OnClose = func(s *Session, _ CloseError) { closed <- s.RemoteAddr().String() }
		cfg.Endpoints = []Endpoint{push}
		srv := start(t, cfg)
		for user, tt := range map[string]struct{ from, header, want string }{
			"v1":    {proxyAddr, header1, "192.0.2.7:4711"},
			"v2":    {proxyAddr, header2, "[2001:db8::7]:4711"},
			"own":   {proxyAddr, headerOwn, ""},
			"plain": {strangerAddr, "", ""},
		} {
			c, err := connectVia(t, srv, tt.from, tt.header, version, user == "v1")
			if err != nil {
				t.Fatalf("%s: %v", user, err)
			}
			if tt.want == "" {
				tt.want = c.Conn.LocalAddr().String()
			}
			c.say(handshakeFor("/ws?user=" + user))
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Fatalf("%s: status %d, %s", user, resp.StatusCode, c.head)
			}
			s := only(t, srv, user)
			if got := s.RemoteAddr().String(); got != tt.want {
				t.Errorf("%s: the client is %s, want %s", user, got, tt.want)
			}
			if kept := s.ext.Load() != nil; kept != strings.HasPrefix(user, "v") {
				t.Errorf("%s: the session keeps an extension: %t", user, kept)
			}
			if user == "v1" { // the connection counts as the client's
				c2, err := connectVia(t, srv, proxyAddr, header1, version, false)
				if version == 0 || cfg.Transport == netpoll.Goroutine {
					c2.say(handshakeFor("/ws?user=v1"))
					if resp := c2.answer(); resp.StatusCode != http.StatusTooManyRequests {
						t.Errorf("a second connection of the client: %d", resp.StatusCode)
					}
				} else if err == nil {
					t.Error("a second connection of the client is accepted")
				}
				c2.Close()
			}
			c.Close()
			if got := receive(t, "OnClose", closed); got != tt.want {
				t.Errorf("%s: OnClose is told %s, want %s", user, got, tt.want)
			}
		}
		await(t, "all are gone", func() bool { return srv.connections.Load() == 0 && srv.memory.Held() == 0 })
	})
}

// A proxy's connection without a header is rejected, and a header from elsewhere is, too.
func TestProxyProtocolRejections(t *testing.T) {
	overProxies(t, func(t *testing.T, cfg Config, version uint16) {
		log := new(logBuffer)
		cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		srv := start(t, cfg)
		for i, tt := range []struct{ from, header, want string }{
			{proxyAddr, "", "begins with a PROXY protocol header: have the proxy send it, or take its address out of Config.ProxyProtocol"},
			{proxyAddr, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 x\r\n", "malformed port"},
			{proxyAddr, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "longer than 4096 bytes"},
			{strangerAddr, header1, "came from an address that is not in Config.ProxyProtocol"},
			{strangerAddr, header2, "came from an address that is not in Config.ProxyProtocol"},
		} {
			c, err := connectVia(t, srv, tt.from, tt.header, version, false)
			switch {
			case version == 0:
				io.WriteString(c.Conn, handshakeFor("/ws?user=a"))
				if resp := c.answer(); resp.StatusCode != 400 {
					t.Errorf("%q: status %d", tt.header, resp.StatusCode)
				}
			case err == nil:
				t.Errorf("%q: the TLS handshake succeeds", tt.header)
			}
			if version != 0 && cfg.Transport == netpoll.Goroutine && tt.from == strangerAddr {
				c.Close()
				continue // crypto/tls rejects it by itself
			}
			c.Close()
			await(t, tt.want, func() bool { return log.count(tt.want) > 0 && srv.Stats().ProxyErrors == int64(i+1) })
		}
		await(t, "all are gone", func() bool { return srv.memory.Held() == 0 })
	})
}

// The outcome does not depend on how header and request are cut into reads.
func TestProxyProtocolCutAnywhere(t *testing.T) {
	srv := start(t, Config{ProxyProtocol: proxyNetworks})
	frames := string(masked(Text, true, []byte("hello"))) + string(masked(Op(8), true, []byte(closePayload(1000, ""))))
	for _, header := range []string{header1, header2, headerOwn, "PROXY UNKNOWN\r\n"} {
		input := header + handshakeFor("/echo") + frames
		whole := talkProxied(t, srv, input)
		if !strings.HasPrefix(whole, "HTTP/1.1 101 ") || !strings.Contains(whole, "hello") {
			t.Fatalf("%q: %q", header, whole)
		}
		for i := 1; i < len(header)+8; i++ {
			if got := talkProxied(t, srv, input[:i], input[i:]); got != whole {
				t.Fatalf("%q, cut at %d: %q", header, i, got)
			}
		}
		if got := talkProxied(t, srv, strings.Split(input, "")...); got != whole {
			t.Fatalf("%q, byte by byte: %q", header, got)
		}
	}
}

// talkProxied is talk for a connection of a proxy.
func talkProxied(t *testing.T, srv *Server, pieces ...string) string {
	t.Helper()
	return talkAs(t, srv, readingProxyHeader, pieces...)
}

// X-Forwarded-For is believed if the header names a trusted proxy.
func TestProxyProtocolAndTrustedProxies(t *testing.T) {
	srv := start(t, Config{ProxyProtocol: proxyNetworks, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}})
	for user, tt := range map[string]struct{ header, want string }{
		"trusted":   {header1, "198.51.100.9:0"},
		"untrusted": {header2, "[2001:db8::7]:4711"},
	} {
		c, err := connectVia(t, srv, proxyAddr, tt.header, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		c.say(handshakeFor("/ws?user="+user, "X-Forwarded-For: 198.51.100.9\r\n"))
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Fatalf("%s: %d", user, resp.StatusCode)
		}
		if got := only(t, srv, user).RemoteAddr().String(); got != tt.want {
			t.Errorf("%s: the client is %s, want %s", user, got, tt.want)
		}
	}
}

// A header that does not come has the deadline of the handshake.
func TestProxyProtocolDeadline(t *testing.T) {
	srv, clock := startStopped(t, Config{ProxyProtocol: proxyNetworks, HandshakeTimeout: time.Second})
	c, err := connectVia(t, srv, proxyAddr, header1[:20], 0, false)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a part of the header", func() bool { return srv.memory.Held() > 0 })
	clock.pass(1100 * time.Millisecond)
	if resp := c.answer(); resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", resp.StatusCode)
	}
	c.Close()
	await(t, "it is gone", func() bool { return srv.connections.Load() == 0 && srv.memory.Held() == 0 })
	if n := srv.Stats().Aborted; n != 0 {
		t.Errorf("%d count as aborted, besides the rejection", n)
	}
}

// A plain request is told the client's address, too.
func TestProxyProtocolFallback(t *testing.T) {
	srv := start(t, Config{ProxyProtocol: proxyNetworks, Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RemoteAddr)
	})})
	c, err := connectVia(t, srv, proxyAddr, header1, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	c.say("GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if body, err := io.ReadAll(c.br); !strings.Contains(string(body), "192.0.2.7:4711") || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}
