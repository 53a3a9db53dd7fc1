package server

import (
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
)

// This file tests the rules of RFC 6455 for a server, by section, except for frames (package
// frame) and close codes (close_test.go).

// startEcho has an echo endpoint at /echo.
func startEcho(t testing.TB, transport netpoll.Transport) *Server {
	return start(t, Config{Transport: transport, Endpoints: []Endpoint{EchoEndpoint("/echo")}})
}

// 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
// response"; 5.5.3: with "identical Application data".
func TestRFC6455PingIsAnswered(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := startEcho(t, transport)
		c := dial(t, srv, "/echo")
		for n := range 126 {
			payload := strings.Repeat("\xff\x00p", 42)[:n] // need not be text
			c.send(ws.OpPing, payload)
			c.want(ws.OpPong, payload)
		}
		// In one read, between others and cut in the middle.
		both := string(masked(ws.OpPing, true, []byte("one"))) + string(masked(Text, true, []byte("text"))) + string(masked(ws.OpPing, true, []byte("two")))
		for cut := 1; cut < len(both); cut++ {
			c.say(both[:cut])
			c.say(both[cut:])
			c.want(ws.OpPong, "one")
			c.want(Text, "text")
			c.want(ws.OpPong, "two")
		}
	})
}

// 5.4: "Control frames MAY be injected in the middle of a fragmented message", and
// an endpoint "MUST be capable of handling" them there: at once, not after the
// message, which comes whole (6.2).
func TestRFC6455PingBetweenFragments(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := startEcho(t, transport)
		c := dial(t, srv, "/echo")
		for _, op := range []Op{Text, Binary} {
			c.say(string(masked(op, false, []byte("a"))))
			c.send(ws.OpPing, "1")
			c.want(ws.OpPong, "1")
			c.say(string(masked(ws.OpContinuation, false, []byte("b"))))
			c.send(ws.OpPong, "unsolicited") // 5.5.3: "A response to an unsolicited Pong frame is not expected."
			c.send(ws.OpPing, "2")
			c.want(ws.OpPong, "2")
			c.say(string(masked(ws.OpContinuation, true, []byte("c"))))
			c.want(op, "abc")
		}
	})
}

// 5.1: "A server MUST NOT mask any frames that it sends", 5.2: with the shortest
// length, 5.4: messages of the client in their order. client.frame checks that.
func TestRFC6455EveryLength(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := startEcho(t, transport)
		c := dial(t, srv, "/echo")
		for _, n := range []int{0, 1, 124, 125, 126, 127, 128, 1<<16 - 1, 1 << 16} {
			for _, op := range []Op{Text, Binary} {
				payload := strings.Repeat("x", n)
				c.send(op, payload)
				c.want(op, payload)
			}
		}
	})
}

// 5.5.1: a Close frame MUST be answered with one, unless one was sent; 7.1.1: the
// server is the one to end the stream. Whichever side starts, each sends one, and
// nothing after it: 1.4, "a peer does not send any further data".
func TestRFC6455OneCloseEachWay(t *testing.T) {
	closing := func(code Code) string { return string(masked(ws.OpClose, true, []byte(closePayload(code, "")))) }
	ping := string(masked(ws.OpPing, true, []byte("?")))
	server := func(s *Session) { s.Close(4000, "") }
	tests := []struct {
		name  string
		start func(s *Session) // what the server does first, if anything
		bytes string           // of the client
		code  Code             // of the server's close frame, and for OnClose
		why   string           // for OnClose: the reason of the side that ended it first
	}{
		{"the client closes twice", nil, closing(1000) + closing(1001), 1000, ""},
		{"pings after its close", nil, closing(1000) + ping, 1000, ""},
		{"garbage after its close", nil, closing(1000) + "\xff\xff\xff\xff", 1000, ""},
		{"the server closes, the client answers twice", server, closing(4000) + closing(4000), 4000, ""},
		// 5.5.2 wants a pong until the client's close frame has come. A client discards
		// what follows ours (1.4), or fails at it: doc.go, limitations.
		{"the server closes, the client still pings", server, ping + closing(4000), 4000, ""},
		{"the server closes, the client answers otherwise", server, closing(1000), 4000, ""},
		{"the server closes, the client answers with a reason", server, string(masked(ws.OpClose, true, []byte(closePayload(4000, "mine")))), 4000, ""},
		{"the server closes, the client's answer is invalid", server, closing(1005), 4000, ""},
		{"the server closes, the client breaks the protocol", server, "\xff\xff", 4000, ""},
		// 7.1.7: after a failure nothing is processed, "including a responding Close frame".
		{"a failure, which the client answers", nil, "\xff\xff" + closing(1002), 1002, "reserved bits set"},
		{"a failure, and pings", nil, "\xff\xff" + ping, 1002, "reserved bits set"},
		{"a close frame with half a code, then a good one", nil, "\x88\x81aaaa\x61" + closing(1000), 1002, "close frame with half a status code"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				if test.start != nil {
					test.start(only(t, srv.Server, "a"))
				}
				c.say(test.bytes)
				c.wantClose(test.code)
				c.wantEnd()
				c.Close()
				if why := receive(t, "OnClose", srv.closed); why.Code != test.code || why.Reason != test.why {
					t.Errorf("OnClose has %d %q, want %d %q", why.Code, why.Reason, test.code, test.why)
				}
				if len(srv.closed) != 0 || len(srv.messages) != 0 {
					t.Errorf("%d more closes, %d messages", len(srv.closed), len(srv.messages))
				}
			})
		})
	}
}

// 5.5.1 and 7.1.1: a client that shuts down its sending side after its last frame
// still gets what it is owed, and the end of the stream after that.
func TestRFC6455HalfClose(t *testing.T) {
	shut := func(c *client) {
		c.t.Helper()
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			c.t.Fatal(err)
		}
	}
	closing := string(masked(ws.OpClose, true, []byte(closePayload(1000, ""))))
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		t.Run("after a close frame", func(t *testing.T) {
			c := dial(t, startEcho(t, transport), "/echo")
			c.say(string(masked(Text, true, []byte("last words"))) + closing)
			shut(c)
			c.want(Text, "last words")
			c.wantClose(1000)
			c.wantEnd()
		})
		t.Run("after a message", func(t *testing.T) {
			c := dial(t, startEcho(t, transport), "/echo")
			c.send(Text, "last words")
			shut(c)
			c.want(Text, "last words")
			c.wantEnd() // there was no close frame to answer: 1006 for both, 7.1.5
		})
		t.Run("after a failure", func(t *testing.T) {
			c := dial(t, startEcho(t, transport), "/echo")
			c.say("\xff\xff")
			shut(c)
			c.wantClose(1002)
			c.wantEnd()
		})
		t.Run("after a request that is not a handshake", func(t *testing.T) {
			c := connect(t, startEcho(t, transport))
			c.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			shut(c)
			if resp := c.answer(); resp.StatusCode != 404 {
				t.Errorf("status %d", resp.StatusCode)
			}
			c.wantEnd()
		})
		t.Run("after a request that is rejected", func(t *testing.T) {
			c := connect(t, startEcho(t, transport))
			c.say(request("GET /other HTTP/1.1"))
			shut(c)
			if resp := c.answer(); resp.StatusCode != 404 {
				t.Errorf("status %d", resp.StatusCode)
			}
			c.wantEnd()
		})
		for _, first := range []string{"client", "server"} {
			t.Run("the socket is full, started by the "+first, func(t *testing.T) {
				srv := start(t, Config{Transport: transport, QueueBytes: 64 << 20})
				c := dial(t, srv, "/ws?user=a")
				s := only(t, srv, "a")
				sent := 0
				for ; s.Queued() < 8<<20; sent++ { // more than the sockets may come to take
					if err := s.Send(Binary, numbered(sent)); err != nil {
						t.Fatal(err)
					}
				}
				if first == "server" {
					s.Close(1000, "")
				} else {
					c.say(closing)
				}
				shut(c)
				numbers, op, payload := c.wantNumbered()
				if op != ws.OpClose || string(payload) != closePayload(1000, "") || len(numbers) != sent {
					t.Errorf("%d of %d messages came, then %x %q", len(numbers), sent, op, payload)
				}
				c.wantEnd()
			})
		}
	})
}

// The same client, if it does not read: it is not waited for longer than for any
// other that is closing.
func TestRFC6455HalfCloseIsBounded(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, h := startStopped(t, Config{Transport: transport, QueueBytes: 64 << 20})
		c := dial(t, srv, "/ws?user=a")
		s := only(t, srv, "a")
		for i := 0; s.Queued() < 8<<20; i++ {
			s.Send(Binary, numbered(i))
		}
		c.send(ws.OpClose, closePayload(1000, ""))
		c.Conn.(*net.TCPConn).CloseWrite()
		// The deadline is set before the last bytes are sent, and then the clock may move.
		await(t, "the close frame is answered", func() bool { return s.phase() == lingering && !s.conn.CanWrite() })
		h.pass(srv.cfg.CloseTimeout + 2*tick)
		await(t, "end", func() bool { return srv.connections.Load() == 0 })
		if n := srv.stats.Closes[1000].Load(); n != 1 {
			t.Errorf("%d were counted", n)
		}
	})
}
