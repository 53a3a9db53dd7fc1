package server

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// Where a trusted proxy names the client, that is the remote address; the addresses that
// most clients have cost the session nothing.
func TestRemoteAddrBehindProxy(t *testing.T) {
	seen := make(chan string, 1)
	ends := make(chan string, 1)
	ep := Endpoint{Path: "/a", NonBlocking: true, Identifier: func(_ context.Context, r *Request) (Identity, error) {
		seen <- r.RemoteAddr().String()
		return Identity{User: "u"}, nil
	}, Hooks: Hooks{OnClose: func(s *Session, _ CloseError) { ends <- s.RemoteAddr().String() }}}
	later := ep
	later.Path, later.NonBlocking = "/later", false
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name    string
		proxies []netip.Prefix
		header  string
		want    string // empty: the peer's
		extends bool
	}{
		{"no proxy", nil, "X-Forwarded-For: 192.0.2.1", "", false},
		{"proxy that names no client", loopback, "X: y", "", false},
		{"IPv4", loopback, "X-Forwarded-For: 192.0.2.1", "192.0.2.1:0", false},
		{"a lie before it", loopback, "X-Forwarded-For: 198.51.100.7, 192.0.2.1, 10.0.0.3", "192.0.2.1:0", false},
		{"IPv4 with a port", loopback, "X-Forwarded-For: 192.0.2.1:4711", "192.0.2.1:4711", true},
		{"IPv6", loopback, "X-Forwarded-For: 2001:db8::7", "[2001:db8::7]:0", true},
		{"IPv6 with a port", loopback, "X-Forwarded-For: [2001:db8::7]:4711", "[2001:db8::7]:4711", true},
		{"IPv4 in IPv6", loopback, "X-Forwarded-For: ::ffff:192.0.2.1", "192.0.2.1:0", false},
	} {
		for _, path := range []string{"/a", "/later"} {
			t.Run(tt.name+path, func(t *testing.T) {
				srv := start(t, Config{TrustedProxies: tt.proxies, Endpoints: []Endpoint{ep, later}})
				c := dial(t, srv, path, tt.header)
				want := tt.want
				if want == "" {
					want = c.LocalAddr().String()
				}
				if got := receive(t, "Identifier", seen); got != want {
					t.Errorf("Request.RemoteAddr is %s, want %s", got, want)
				}
				await(t, "session", func() bool { return len(userSessions(srv, "u")) == 1 })
				s := only(t, srv, "u")
				if got := s.RemoteAddr().String(); got != want {
					t.Errorf("Session.RemoteAddr is %s, want %s", got, want)
				}
				if (s.ext.Load() != nil) != tt.extends {
					t.Errorf("the session has an extension: %t, want %t", s.ext.Load() != nil, tt.extends)
				}
				c.Close()
				if got := receive(t, "OnClose", ends); tt.want != "" && got != want {
					t.Errorf("in OnClose it is %s, want %s", got, want)
				}
			})
		}
	}
}

// TestForwarded: with Config.Forwarded the field of RFC 7239 names the client, and
// X-Forwarded-For is ignored; without it is the other way around.
func TestForwarded(t *testing.T) {
	seen := make(chan string, 1)
	ep := Endpoint{Path: "/a", NonBlocking: true, Identifier: func(_ context.Context, r *Request) (Identity, error) {
		seen <- r.RemoteAddr().String()
		return Identity{User: "u"}, nil
	}}
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name, header string
		forwarded    bool
		want         string // empty: the peer's; "400": rejected
	}{
		{"IPv4", "Forwarded: for=192.0.2.1;proto=https", true, "192.0.2.1:0"},
		{"IPv4 with a port", `Forwarded: for="192.0.2.1:4711"`, true, "192.0.2.1:4711"},
		{"IPv4 with a hidden port", `Forwarded: for="192.0.2.1:_port"`, true, "192.0.2.1:0"},
		{"IPv6", `Forwarded: for="[2001:db8::7]"`, true, "[2001:db8::7]:0"},
		{"IPv6 with a port", `Forwarded: for="[2001:db8::7]:4711"`, true, "[2001:db8::7]:4711"},
		{"a lie before it", "Forwarded: for=198.51.100.7, for=192.0.2.1, for=10.0.0.3", true, "192.0.2.1:0"},
		{"a lie in a field of its own", "Forwarded: for=198.51.100.7\r\nForwarded: for=192.0.2.1", true, "192.0.2.1:0"},
		{"hidden", "Forwarded: for=198.51.100.7, for=_hidden, for=10.0.0.3", true, ""},
		{"unknown", "Forwarded: for=198.51.100.7, for=unknown", true, ""},
		{"without for", "Forwarded: for=198.51.100.7, proto=https", true, ""},
		{"none", "X: y", true, ""},
		{"open quote", `Forwarded: for="198.51.100.7, for=192.0.2.1`, true, "400"},
		{"both", "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 198.51.100.7", true, "192.0.2.1:0"},
		{"only the other", "X-Forwarded-For: 198.51.100.7", true, ""},
		{"both, not asked for", "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=198.51.100.7", false, "192.0.2.1:0"},
		{"malformed, not asked for", "X-Forwarded-For: 192.0.2.1\r\nForwarded: \"", false, "192.0.2.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, Config{TrustedProxies: proxies, Forwarded: tt.forwarded, Endpoints: []Endpoint{ep}})
			if tt.want == "400" {
				c := connect(t, srv)
				c.say(handshakeFor("/a", tt.header))
				resp := c.answer()
				if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(text), "malformed Forwarded") {
					t.Errorf("got %d %q", resp.StatusCode, text)
				}
				return
			}
			c := dial(t, srv, "/a", tt.header)
			want := tt.want
			if want == "" {
				want = c.LocalAddr().String()
			}
			if got := receive(t, "Identifier", seen); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// A page of the host that a trusted proxy was asked for may connect.
func TestForwardedHost(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proxies []netip.Prefix
		host    string // X-Forwarded-Host
		origin  string
		status  int
	}{
		{"same", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "app.example:8443", "https://app.example:8443", 101},
		{"default port", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "app.example", "https://app.example:443", 101},
		{"other", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "app.example", "https://evil.example", 403},
		{"proxy that is not trusted", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "app.example", "https://app.example", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, Config{TrustedProxies: tt.proxies})
			c := connect(t, srv)
			c.say(handshakeFor("/echo", "X-Forwarded-Host: "+tt.host, "Origin: "+tt.origin))
			if resp := c.answer(); resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			srv = start(t, Config{TrustedProxies: tt.proxies, Forwarded: true})
			for line, want := range map[string]int{
				`Forwarded: for=unknown;proto=https;host="` + tt.host + `", for=10.0.0.1`: tt.status,
				"X-Forwarded-Host: " + tt.host:                                            403, // it is not read
			} {
				c := connect(t, srv)
				c.say(handshakeFor("/echo", line, "Origin: "+tt.origin))
				if resp := c.answer(); resp.StatusCode != want {
					t.Errorf("%s: status %d, want %d", line, resp.StatusCode, want)
				}
			}
		})
	}
}
