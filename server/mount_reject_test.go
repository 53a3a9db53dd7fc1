package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// The host answers what a mount rejects, and its keep-alive goes on after that.
func TestMountRejects(t *testing.T) {
	identify := func(_ context.Context, r *Request) (Identity, error) {
		switch r.Query("as") {
		case "stranger":
			return Identity{}, Reject(401, "who are you?")
		case "broken":
			return Identity{}, errors.New("secret of the database")
		case "strange":
			return Identity{}, Reject(1000, "")
		case "panic":
			panic("in Identify")
		case "anonymous":
			return Identity{}, nil
		}
		return Identity{User: r.Query("as"), Topics: r.QueryAll("topic")}, nil
	}
	without := func(request, line string) string { return strings.Replace(request, line+"\r\n", "", 1) }
	tests := []struct {
		name    string
		request string
		status  int
		text    string
		header  string // Name: value
	}{
		{"no upgrade", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, "want Upgrade", "Upgrade: websocket"},
		{"other protocol", strings.Replace(knock("/"), "websocket", "h2c", 1), 426, "want Upgrade", "Connection: Upgrade"},
		{"POST", strings.Replace(knock("/", "Content-Length: 0"), "GET", "POST", 1), 405, "is a GET", "Allow: GET"},
		{"HTTP/1.0", strings.Replace(knock("/"), "HTTP/1.1", "HTTP/1.0", 1), 505, "HTTP/1.1", ""},
		{"no Connection", strings.Replace(knock("/"), "keep-alive, Upgrade", "keep-alive", 1), 400, "Connection", ""},
		{"no key", without(knock("/"), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "Sec-WebSocket-Key", ""},
		{"two keys", knock("/", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400, "Sec-WebSocket-Key", ""},
		{"version 8", strings.Replace(knock("/"), "Version: 13", "Version: 8", 1), 426, "13", "Sec-WebSocket-Version: 13"},
		{"foreign page", knock("/", "Origin: https://evil.example"), 403, "origin", ""},
		{"a body", knock("/", "Content-Length: 5") + "hello", 400, "body", ""},
		{"a chunked body", knock("/", "Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n\r\n", 400, "body", ""},
		{"malformed protocol", knock("/", "Sec-WebSocket-Protocol: a b"), 400, "Protocol", ""},
		{"identity rejected", knock("/?as=stranger"), 401, "who are you?", ""},
		{"identity fails", knock("/?as=broken"), 500, "internal error", ""},
		{"identity rejected with a close code", knock("/?as=strange"), 500, "internal error", ""},
		{"identity panics", knock("/?as=panic"), 500, "internal error", ""},
		{"bad name", knock("/?as=%00"), 400, "user", ""},
		{"bad topic", knock("/?as=a&topic="), 400, "topic", ""},
		{"page of the same host", knock("/", "Origin: http://example.com"), 101, "", ""},
		{"named page", knock("/", "Origin: https://app.example.net"), 101, "", ""},
		{"no body, said so", knock("/", "Content-Length: 0"), 101, "", ""},
		{"no user", knock("/?as=anonymous"), 101, "", ""},
	}
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			srv, m := bare(t, Config{AllowOrigins: []string{"https://app.example.net"}}, Endpoint{Identifier: identify})
			dial := in(t, h, m)
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					before := srv.stats.Rejected[min(test.status, 500)].Load()
					g := dial()
					resp, body := g.ask(test.request)
					if resp.StatusCode != test.status || !strings.Contains(body, test.text) {
						t.Fatalf("%s: %s", resp.Status, body)
					}
					name, value, _ := strings.Cut(test.header, ": ")
					if name != "" && resp.Header.Get(name) != value {
						t.Errorf("header is %q, want %q", resp.Header, test.header)
					}
					if strings.Contains(body, "secret") {
						t.Errorf("body tells %q", body)
					}
					if test.status == 101 {
						return
					}
					if test.status <= 500 && srv.stats.Rejected[test.status].Load() != before+1 {
						t.Error("it was not counted")
					}
					if !resp.Close {
						g.enter(knock("/?as=anonymous"))
					}
				})
			}
			if n := srv.stats.Panics.Load(); n != 1 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}

// RFC 6455, 4.2.1, 2: the Host field has the server's authority. fasthttp rejects such
// requests itself, net/http lets one pass whose field is empty.
func TestMountWantsHost(t *testing.T) {
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			_, m := bare(t, Config{}, Endpoint{})
			dial := in(t, h, m)
			for _, line := range []string{"", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: b\r\n"} {
				if resp, _ := dial().ask(strings.Replace(knock("/"), "Host: example.com\r\n", line, 1)); resp.StatusCode != 400 {
					t.Errorf("%q: %s, want 400", line, resp.Status)
				}
			}
		})
	}
}

// Upgrade returns to its caller what the client was sent.
func TestUpgradeErrors(t *testing.T) {
	srv, m := bare(t, Config{SessionsPerUser: 1, MaxConnections: 2}, Endpoint{Identifier: func(context.Context, *Request) (Identity, error) {
		return Identity{}, errors.New("asked for no reason")
	}})
	errs := make(chan error, 1)
	ln := loopback(t)
	serveHandler(t, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs <- m.Upgrade(w, r, Identity{User: r.URL.Query().Get("as"), Data: r.RemoteAddr})
	}))
	steps := []struct {
		request string
		status  int
	}{
		{knock("/?as=%00"), 400},
		{knock("/?as=alice"), 101},
		{knock("/?as=alice"), 429}, // found when the connection is ours already
		{knock("/?as=bob"), 101},
		{knock("/?as=carol"), 503},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426},
	}
	outer := t
	for i, step := range steps {
		t.Run(fmt.Sprint(i, " ", step.status), func(t *testing.T) {
			g := newGuest(outer, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
			resp, body := g.ask(step.request)
			err := <-errs
			var rejection *Rejection
			switch {
			case resp.StatusCode != step.status:
				t.Fatalf("%s: %s; %v", resp.Status, body, err)
			case step.status == 101 && err != nil:
				t.Error(err)
			case step.status != 101 && (!errors.As(err, &rejection) || rejection.Status != step.status):
				t.Errorf("Upgrade returned %v", err)
			case step.status == 503 && resp.Header.Get("Retry-After") == "":
				t.Error("it says not when to come again")
			}
			if step.status != 101 {
				g.Close()
				eventually(t, "it is gone", func() bool { return srv.connections.Load() == srv.sessions.Load() })
			}
		})
	}
	if all := userSessions(srv, "alice"); len(all) != 1 || all[0].Data() == nil || all[0].Data() != all[0].RemoteAddr().String() {
		t.Errorf("alice has %d connections, or not the data of hers", len(all))
	}
}

// The limits per address hold for mounted endpoints too, and nothing of them is
// held by connections that were rejected or are gone.
func TestMountLimitsPerIP(t *testing.T) {
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			srv, m := bare(t, Config{ConnectionsPerIP: 2, HandshakesPerIP: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Endpoint{})
			dial := in(t, h, m)
			knockFrom := func(addr string) (*guest, int) {
				g := dial()
				resp, _ := g.ask(knock("/", "X-Forwarded-For: 198.51.100.9, "+addr))
				return g, resp.StatusCode
			}
			var inside []*guest
			for i, want := range []int{101, 101, 429, 429} {
				g, status := knockFrom("192.0.2.1")
				if status != want {
					t.Fatalf("connection %d: %d, want %d", i, status, want)
				}
				if status == 101 {
					inside = append(inside, g)
				}
			}
			if _, status := knockFrom("192.0.2.2"); status != 101 {
				t.Errorf("another address got %d", status)
			}
			for _, g := range inside {
				g.Close()
			}
			eventually(t, "they are gone", func() bool { return srv.connections.Load() == 1 })
			if n := srv.stats.AddressFull.Load(); n != 2 {
				t.Errorf("%d were one too many", n)
			}
			// 10 handshakes may come at once, and one more a second. Those for
			// which there was no room were none.
			accepted := 2
			for status := 101; status != 429; accepted++ {
				var g *guest
				if g, status = knockFrom("192.0.2.1"); accepted > 100 {
					t.Fatal("handshakes are not limited")
				}
				g.Close()
				eventually(t, "it is gone", func() bool { return srv.connections.Load() == 1 })
			}
			if accepted--; accepted < 10 {
				t.Errorf("only %d handshakes", accepted)
			}
		})
	}
}

// A proxy that does not name its client does not hide it from the limits.
func TestMountBehindProxy(t *testing.T) {
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			_, m := bare(t, Config{ConnectionsPerIP: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Endpoint{})
			dial := in(t, h, m)
			if resp, _ := dial().ask(knock("/")); resp.StatusCode != 101 {
				t.Errorf("the first gets %s", resp.Status)
			}
			for _, said := range []string{"", "unknown", "127.0.0.7"} {
				if resp, _ := dial().ask(knock("/", "X-Forwarded-For: "+said)); resp.StatusCode != 429 {
					t.Errorf("%q: %s, want 429", said, resp.Status)
				}
			}
		})
	}
}

func TestMountUnderPressure(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			srv, m := bare(t, Config{}, Endpoint{})
			srv.memory.Observe(1, 1)
			resp, _ := in(t, h, m)().ask(knock("/"))
			// The clock may have looked at the memory meanwhile.
			if resp.StatusCode != 503 && srv.memory.Short() {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}
