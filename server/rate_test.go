package server

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
)

// TestRate: floods end with 1008, whatever they are made of, and what a client
// has to say in earnest does not.
func TestRate(t *testing.T) {
	limited := func(messages, bytes int) Endpoint {
		ep := EchoEndpoint("/echo")
		ep.Rate = Rate{Messages: messages, Bytes: bytes}
		ep.Rules.MaxMessage = 1000
		return ep
	}
	ping := string(masked(0x9, true, nil))
	fragment := string(masked(0x0, false, []byte("x")))
	for _, tt := range []struct {
		name   string
		ep     Endpoint
		before string
		flood  string
		n      int
	}{
		{"messages", limited(10, 0), "", string(masked(Text, true, []byte("x"))), 101},
		{"pings", limited(10, 0), "", ping, 101},
		{"pongs", limited(10, 0), "", string(masked(0xa, true, nil)), 101},
		{"fragments", limited(0, 100), string(masked(Text, false, nil)), fragment, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, Config{Endpoints: []Endpoint{tt.ep}})
			c := dial(t, srv, "/echo")
			c.say(tt.before)
			for range tt.n {
				if _, err := c.Conn.Write([]byte(tt.flood)); err != nil {
					break // closed already
				}
			}
			if code := c.finish(); code != 1008 {
				t.Errorf("closed with %d, want 1008", code)
			}
			if n := srv.stats.OverRate.Load(); n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
	t.Run("within", func(t *testing.T) {
		srv := start(t, Config{Endpoints: []Endpoint{limited(10, 0)}})
		c := dial(t, srv, "/echo")
		for range 100 {
			c.send(Text, "x")
			if op, _, err := c.frame(); op != Text || err != nil {
				t.Fatal(op, err)
			}
		}
	})
}

// TestIdleHasNoMeter: answering pings costs a session no memory.
func TestIdleHasNoMeter(t *testing.T) {
	srv := start(t, Config{PingInterval: tick, PingTimeout: 10 * time.Second})
	c := dial(t, srv, "/ws?user=a")
	for range 3 {
		op, payload, err := c.frame()
		if op != 0x9 || err != nil {
			t.Fatal(op, err)
		}
		c.send(0xa, string(payload))
	}
	if s := userSessions(srv, "a")[0]; s.ext.Load() != nil {
		t.Error("an idle session has an extension")
	}
}

// deflating has an echo endpoint with permessage-deflate, where time stands still, and
// a client that is connected to it.
func deflating(t *testing.T, rate Rate, longest int) (*client, *manualClock) {
	t.Helper()
	ep := compressing(EchoEndpoint("/echo"))
	ep.Rate = rate
	ep.Rules.MaxMessage = longest
	srv, h := startStopped(t, Config{Endpoints: []Endpoint{ep}, PingInterval: time.Hour})
	return dial(t, srv, "/echo", "Sec-WebSocket-Extensions: permessage-deflate"), h
}

// wantBack reads the echo of a message.
func (c *client) wantBack(payload []byte) {
	c.t.Helper()
	if got, _ := c.inflated(); !bytes.Equal(got, payload) {
		c.t.Fatalf("%d bytes came back: %.60q", len(got), got)
	}
}

// TestRateInflated: a message costs what it inflates to, so that a few bytes do
// not buy the work for many.
func TestRateInflated(t *testing.T) {
	c, _ := deflating(t, Rate{Bytes: 1000}, 8000)
	long := bytes.Repeat([]byte("x"), 6000) // two are more than ten seconds' worth
	c.sendDeflated(Text, long)
	c.wantBack(long)
	c.sendDeflated(Text, long)
	if code := c.finish(); code != 1008 {
		t.Errorf("closed with %d, want 1008", code)
	}
}

// A message counts once against the rate: its length on the wire or, if greater, inflated.
func TestRateCountsOnce(t *testing.T) {
	const each, n = 1000, 9 // in 10,000 bytes at once there is room for headers of 9, not for 18 of these
	noise := make([]byte, each)
	rand.NewChaCha8([32]byte{}).Read(noise)
	longer := slices.Concat(noise[:each*9/10], noise[:each/10])
	tests := []struct {
		name string
		send func(c *client)
		back []byte
	}{
		{"not compressed", func(c *client) { c.say(string(masked(ws.OpBinary, true, noise))) }, noise},
		{"not compressed, in fragments and reads", func(c *client) {
			c.say(string(masked(ws.OpBinary, false, noise[:500])))
			c.send(ws.OpPing, "")
			c.want(ws.OpPong, "")
			c.say(string(masked(ws.OpContinuation, true, noise[500:])))
		}, noise},
		{"compressed, by a tenth", func(c *client) { c.sendDeflated(Binary, longer) }, longer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := deflating(t, Rate{Bytes: 1000}, 8000)
			for range n {
				tt.send(c)
				c.wantBack(tt.back)
			}
		})
	}
}

// A session that was quiet may send a message of MaxMessage, however it is
// encoded and whatever the rate; the next one must wait for what the rate brings.
func TestRateLongestMessage(t *testing.T) {
	const longest = 100_000
	const rate = 1000 // ten seconds' worth is a tenth of it
	noise := make([]byte, longest)
	rand.NewChaCha8([32]byte{}).Read(noise)
	deflate := func(c *client, payload []byte) { c.sendDeflated(ws.OpBinary, payload) }
	flat := bytes.Repeat(noise[:longest/50], 50) // inflates to 50 times what it is
	for _, tt := range []struct {
		name    string
		payload []byte
		send    func(c *client, payload []byte)
	}{
		{"compressed", flat, deflate},
		{"compressed, to more", noise, deflate},
		{"not compressed", flat, func(c *client, payload []byte) { c.say(string(masked(ws.OpBinary, true, payload))) }},
		{"in fragments", flat, func(c *client, payload []byte) {
			c.say(string(masked(ws.OpBinary, false, payload[:1])) + string(masked(ws.OpContinuation, false, payload[1:longest/2])) +
				string(masked(ws.OpContinuation, true, payload[longest/2:])))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, h := deflating(t, Rate{Bytes: rate}, longest)
			tt.send(c, tt.payload)
			c.wantBack(tt.payload)
			h.pass(longest / rate * time.Second)
			tt.send(c, tt.payload)
			c.wantBack(tt.payload)
			h.pass(longest / rate / 2 * time.Second)
			tt.send(c, tt.payload)
			if code := c.finish(); code != 1008 {
				t.Errorf("closed with %d, want 1008", code)
			}
		})
	}
}

// A client that goes on sending after its session failed is disconnected, long before
// CloseTimeout.
func TestDiscard(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, CloseTimeout: time.Hour})
		c := dial(t, srv, "/echo")
		c.say("\xff\xff\xff\xff")
		portion := make([]byte, 64<<10)
		sent := 0
		for ; sent < 64*maxDiscarded; sent += len(portion) {
			if _, err := c.Conn.Write(portion); err != nil {
				break
			}
		}
		if sent < maxDiscarded || sent == 64*maxDiscarded {
			t.Errorf("disconnected after %d bytes, want a few more than %d", sent, maxDiscarded)
		}
		await(t, "the session is gone", func() bool { return srv.Count() == 0 })
		if n := srv.stats.Forced.Load(); n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}
