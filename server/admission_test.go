package server

import (
	"bytes"
	"errors"
	"net/netip"
	"runtime/debug"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/internal/limit"
)

// Each connection through a proxy is counted under an address, whatever the proxy says.
func TestBehindProxy(t *testing.T) {
	tests := []struct {
		name   string
		header string // X-Forwarded-For; empty: none
		other  string // one that is not counted with it
	}{
		{"address", "192.0.2.1", "192.0.2.2"},
		{"address with a port", "192.0.2.1:4711", "192.0.2.2:4711"},
		{"IPv6 with a port", "[2001:db8::1]:4711", "[2001:db8:0:1::1]:4711"},
		{"no header", "", "192.0.2.1"},
		{"nonsense", "unknown", "192.0.2.1"},
		{"empty", ",", "192.0.2.1"},
		{"another proxy", "127.0.0.7", "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, ConnectionsPerIP: 2})
			from := func(header string) int {
				c := connect(t, srv)
				if header == "" {
					c.say(request())
				} else {
					c.say(request("+X-Forwarded-For: " + header))
				}
				return c.answer().StatusCode
			}
			for i, want := range []int{101, 101, 429} {
				if got := from(tt.header); got != want {
					t.Errorf("connection %d: %d, want %d", i, got, want)
				}
			}
			if n := srv.stats.AddressFull.Load(); n != 1 {
				t.Errorf("counted %d", n)
			}
			if got := from(tt.other); got != 101 {
				t.Errorf("%s pays for it: %d", tt.other, got)
			}
		})
	}
	t.Run("a proxy on loopback that is not named", func(t *testing.T) {
		srv := start(t, Config{ConnectionsPerIP: 2})
		for range 3 {
			dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.1") // loopback is exempt, as README says
		}
	})
}

// TestLimitsPerIP comes through a proxy, because loopback itself is exempt.
func TestLimitsPerIP(t *testing.T) {
	cfg := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, ConnectionsPerIP: 2, HandshakesPerIP: 1}
	t.Run("connections", func(t *testing.T) {
		srv := start(t, cfg)
		dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.1")
		gone := dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.1")
		c := connect(t, srv)
		c.say(handshakeFor("/echo", "X-Forwarded-For: 192.0.2.1"))
		if resp := c.answer(); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, want 429 with Retry-After", resp.StatusCode)
		}
		dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.2")
		if n := srv.stats.AddressFull.Load(); n != 1 {
			t.Errorf("counted %d", n)
		}
		gone.send(0x8, closePayload(1000, ""))
		gone.wantClose(1000)
		gone.wantEnd()
		eventually(t, "the limit to change", func() bool { return srv.connections.Load() <= 3 })
		dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.1")
	})
	t.Run("handshakes", func(t *testing.T) {
		srv, h := startStopped(t, cfg)
		h.pass(tick) // ticks begin with 1
		come := func() {
			c := dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.1")
			c.send(0x8, closePayload(1000, ""))
			c.wantClose(1000)
			c.wantEnd()
			await(t, "it goes", func() bool { return srv.connections.Load() == 0 })
		}
		for range limit.Burst {
			come()
		}
		wantTooFast(t, srv, 1, 429, "1", "X-Forwarded-For: 192.0.2.1")
		h.pass(time.Second - tick)
		wantTooFast(t, srv, 2, 429, "1", "X-Forwarded-For: 192.0.2.1")
		h.pass(tick)
		come()
		wantTooFast(t, srv, 3, 429, "2", "X-Forwarded-For: 192.0.2.1")
		dial(t, srv, "/echo", "X-Forwarded-For: 192.0.2.2")
	})
	t.Run("of everybody", func(t *testing.T) {
		srv, h := startStopped(t, Config{HandshakeRate: 1})
		h.pass(tick)
		for range limit.Burst {
			dial(t, srv, "/echo")
		}
		wantTooFast(t, srv, 1, 503, "1")
		h.pass(time.Second - tick)
		wantTooFast(t, srv, 2, 503, "1")
		h.pass(tick)
		dial(t, srv, "/echo")
		wantTooFast(t, srv, 3, 503, "2") // one second is promised to the second one
	})
}

// wantTooFast tries a handshake over the rate, the n-th one.
func wantTooFast(t *testing.T, srv *Server, n int64, status int, retryAfter string, lines ...string) {
	t.Helper()
	c := connect(t, srv)
	c.say(handshakeFor("/echo", lines...))
	if resp := c.answer(); resp.StatusCode != status || resp.Header.Get("Retry-After") != retryAfter {
		t.Errorf("%s, Retry-After %q, want %d, %s", resp.Status, resp.Header.Get("Retry-After"), status, retryAfter)
	}
	c.Close()
	if got := srv.stats.HandshakeRate.Load(); got != n {
		t.Errorf("%d were counted, want %d", got, n)
	}
}

// Without a proxy the connection itself is rejected, before anything is read from it.
func TestLimitsPerIPAtAccept(t *testing.T) {
	srv, _ := startStopped(t, Config{ConnectionsPerIP: 2, HandshakesPerIP: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	here := make(map[*Session]bool)
	leave := func(s *Session) {
		delete(here, s)
		srv.wheel.Stop(s)
		srv.uncount(s)
	}
	defer func() {
		for s := range here {
			leave(s)
		}
	}()
	arrive := func(addr string) *Session {
		c, h := srv.accept(netip.AddrPortFrom(netip.MustParseAddr(addr), 4711))
		if (c == nil) != (h == nil) {
			t.Fatalf("%s: %v, %v", addr, c, h)
		}
		if c == nil {
			return nil
		}
		here[h.(handler).s] = true
		return h.(handler).s
	}
	steps := []struct {
		name, from string
		accepted   bool
		counted    bool // under a source
	}{
		{"the first", "192.0.2.1", true, true},
		{"the second", "192.0.2.1", true, true},
		{"one too many", "192.0.2.1", false, false},
		{"another address", "192.0.2.2", true, true},
		{"IPv6", "2001:db8::1", true, true},
		{"the same subscriber", "2001:db8::2:1", true, true},
		{"and once more", "2001:db8::3:1", false, false},
		{"loopback", "127.0.0.1", true, false},
		{"a proxy, until its request is known", "10.0.0.3", true, false},
		{"and again", "10.0.0.3", true, false},
		{"and again", "10.0.0.3", true, false},
	}
	var first *Session
	rejected := int64(0)
	for _, step := range steps {
		s := arrive(step.from)
		if (s != nil) != step.accepted || s != nil && (s.source != nil) != step.counted {
			t.Fatalf("%s: accepted %t, want %t", step.name, s != nil, step.accepted)
		}
		if s == nil {
			rejected++
		}
		if first == nil {
			first = s
		}
	}
	if n := srv.stats.AddressFull.Load(); n != rejected {
		t.Errorf("%d were counted, want %d", n, rejected)
	}
	// Handshakes are counted where the connection is.
	for i := range limit.Burst + 1 {
		err := srv.limitHandshake(first, &Request{})
		var rejection *Rejection
		if i < limit.Burst && err != nil || i == limit.Burst && (!errors.As(err, &rejection) || rejection.Status != 429) {
			t.Errorf("handshake %d: %v", i, err)
		}
	}
	leave(first)
	if arrive("192.0.2.1") == nil {
		t.Error("a connection that ended still takes a place")
	}
}

// Near the memory limit new connections are rejected and open ones are served, until
// memory is free again.
func TestPressure(t *testing.T) {
	srv := start(t, Config{})
	here := dial(t, srv, "/echo")
	dialled := []*client{dial(t, srv, "/echo"), dial(t, srv, "/echo")}
	limit := debug.SetMemoryLimit(1 << 20)
	defer debug.SetMemoryLimit(limit)
	eventually(t, "the limit to change", srv.memory.Short)
	if resp := connect(t, srv).answer(); resp.StatusCode != 503 {
		t.Errorf("status %d, want 503", resp.StatusCode)
	}
	here.send(Text, "still here")
	here.want(Text, "still here")
	// A short message may be unfinished, a long one may not.
	short, long := dialled[0], dialled[1]
	short.say(string(masked(Text, false, []byte("short"))))
	long.say(string(masked(Text, false, make([]byte, 1<<10+1))))
	long.wantClose(1013)
	short.say(string(masked(ws.OpContinuation, true, nil)))
	short.want(Text, "short")
	debug.SetMemoryLimit(limit)
	eventually(t, "the limit to change", func() bool { return !srv.memory.Short() })
	dial(t, srv, "/echo")
	if n := srv.stats.ShortOfMemory.Load(); n != 2 {
		t.Errorf("counted %d", n)
	}
}

// TestHeld: what is known of unfinished messages is bounded in all, too, and what has
// ended does not count.
func TestHeld(t *testing.T) {
	ep := EchoEndpoint("/echo")
	ep.Rate = Rate{Messages: 10}
	srv, _ := startStopped(t, Config{Endpoints: []Endpoint{ep}})
	const most = 64 << 10
	srv.memory.Observe(0, 4*most)
	settled := func(what string, bytes int64) {
		t.Helper()
		await(t, what, func() bool { return srv.memory.Held() == bytes })
	}
	begun := string(masked(Text, false, make([]byte, most/4)))
	var clients []*client
	for range 4 {
		c := dial(t, srv, "/echo")
		c.say(begun)
		clients = append(clients, c)
	}
	settled("all that may be is held", most)
	last := dial(t, srv, "/echo")
	last.say(string(masked(Text, false, []byte("short"))))
	await(t, "a short one is held as well", func() bool { return srv.memory.Held() > most })
	one := dial(t, srv, "/echo")
	one.say(begun)
	one.wantClose(1013)
	if n := srv.stats.ShortOfMemory.Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
	last.say(string(masked(ws.OpContinuation, true, nil)))
	last.want(Text, "short")
	settled("what is complete is not held", most)
	clients[0].say(string(masked(ws.OpContinuation, true, nil)))
	if op, payload, err := clients[0].frame(); op != Text || len(payload) != most/4 || err != nil {
		t.Errorf("%v, %d bytes, %v", op, len(payload), err)
	}
	settled("nor what a handler had", most*3/4)
	clients[1].Close()
	settled("nor that of a peer that has gone", most/2)
	clients[2].say(string(masked(Text, true, []byte("in between"))))
	clients[2].wantClose(1002)
	settled("nor that of one that has failed", most/4)
	clients[3].say(string(bytes.Repeat(masked(ws.OpPing, true, nil), 10*limit.Burst+1)))
	for range 10 * limit.Burst {
		clients[3].want(ws.OpPong, "")
	}
	clients[3].wantClose(1008)
	settled("nor that of one that sends too much", 0)
}
