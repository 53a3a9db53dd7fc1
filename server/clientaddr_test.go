package server

import (
	"context"
	"net/netip"
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
		})
	}
}
