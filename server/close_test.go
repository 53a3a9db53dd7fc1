package server

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// closeServer has an endpoint at / that tells of messages and closes.
type closeServer struct {
	*Server
	*manualClock
	messages chan string
	closed   chan frame.CloseError
}

func startClose(t testing.TB, transport netpoll.Transport) *closeServer {
	s := &closeServer{messages: make(chan string, 10), closed: make(chan frame.CloseError, 10)}
	ep := PushEndpoint("/")
	ep.Rules.MaxMessage = 1000
	ep.Hooks.OnMessage = func(_ *Session, op Op, payload []byte) { s.messages <- string(payload) }
	ep.Hooks.OnClose = func(_ *Session, why frame.CloseError) { s.closed <- why }
	s.Server, s.manualClock = startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
	return s
}

// wantClosed checks what OnClose got, and that it was counted.
func (s *closeServer) wantClosed(t testing.TB, code Code, reason string) {
	t.Helper()
	if why := receive(t, "OnClose", s.closed); why.Code != code || why.Reason != reason {
		t.Errorf("OnClose has %d %q, want %d %q", why.Code, why.Reason, code, reason)
	}
	if n := s.stats.Closes[code].Load(); n != 1 {
		t.Errorf("%d closes with %d were counted, want 1", n, code)
	}
	await(t, "the connection is gone", func() bool { return s.connections.Load() == 0 })
}

// RFC 6455, 7.1.2 and 7.1.4: the server starts it.
func TestServerCloses(t *testing.T) {
	tests := []struct {
		name       string
		code       Code
		reason     string
		wantCode   Code // in the frame; 0: none
		wantReason string
		counted    Code
	}{
		{"normal", 1000, "bye", 1000, "bye", 1000},
		{"no reason", 4321, "", 4321, "", 4321},
		{"registered since", 1013, "later", 1013, "later", 1013},
		{"reason is cut between runes", 1000, strings.Repeat("ü", 100), 1000, strings.Repeat("ü", 61), 1000}, // 5.5: 125 bytes
		{"reason is not UTF-8", 1000, "a\xffb", 1000, "a\ufffdb", 1000},
		{"no code", 0, "", 0, "", 1005},
		{"code that must not be sent", 1006, "x", 0, "", 1005}, // 7.4.1
		{"code out of range", 65535, "", 0, "", 1005},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				s := only(t, srv.Server, "a")
				if !s.Close(test.code, test.reason) {
					t.Error("Close reports that it was closed before")
				}
				if s.Close(1000, "again") {
					t.Error("Close starts a second closing handshake")
				}
				if err := s.Send(Text, []byte("late")); err != ErrClosed { // 6.1: only "in the OPEN state"
					t.Errorf("Send after Close: %v", err)
				}
				payload := ""
				if test.wantCode != 0 {
					payload = closePayload(test.wantCode, test.wantReason)
				}
				c.want(ws.OpClose, payload)
				c.send(Text, "was on its way") // 1.4: is discarded
				c.send(ws.OpClose, payload)    // 5.5.1: the answer
				c.wantEnd()                    // 7.1.1: the server is the one to end it
				srv.wantClosed(t, test.counted, test.reason)
				if len(srv.messages) != 0 {
					t.Error("a message came after Close")
				}
				if n := srv.stats.Forced.Load(); n != 0 {
					t.Error("was cut off")
				}
			})
		})
	}
}

// RFC 6455, 5.5.1 and 7.4: the client starts it.
func TestClientCloses(t *testing.T) {
	type test struct {
		name    string
		payload string
		answer  string // the body of ours
		code    Code   // for OnClose
		reason  string
		echo    bool // it was taken
	}
	failed := func(name, payload string, code Code, reason string) test {
		return test{name, payload, closePayload(code, reason), code, reason, false}
	}
	tests := []test{
		{"no code", "", "", 1005, "", true}, // 7.1.5
		{"longest reason", closePayload(1000, strings.Repeat("x", 123)), closePayload(1000, ""), 1000, strings.Repeat("x", 123), true},
		failed("half a code", "\x03", 1002, "close frame with half a status code"),
		failed("reason is not UTF-8", closePayload(1000, "\xff"), 1007, "close reason is not UTF-8"),
	}
	for _, code := range []Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		tests = append(tests, test{fmt.Sprint(code), closePayload(code, "why"), closePayload(code, ""), code, "why", true})
	}
	// 7.4.1 and 7.4.2: reserved, not for the wire, or out of range.
	for _, code := range []Code{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		tests = append(tests, failed(fmt.Sprint(code, " is invalid"), closePayload(code, ""), 1002, "invalid status code in close frame"))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				// What comes after a close frame is ignored, 5.5.1.
				c.say(string(masked(ws.OpClose, true, []byte(test.payload))) + string(masked(Text, true, []byte("late"))))
				c.want(ws.OpClose, test.answer)
				c.wantEnd()
				// 5.5.1: after both close frames the server "MUST close the underlying TCP
				// connection immediately", which does not take the clock, nor the client.
				// One whose frame was wrong is waited for, to read the answer.
				if !test.echo {
					c.Close()
				}
				srv.wantClosed(t, test.code, test.reason)
				if len(srv.messages) != 0 {
					t.Error("a message came after the close frame")
				}
			})
		})
	}
}

// Both start it at the same time: each takes the other's frame for the answer.
func TestBothClose(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := startClose(t, transport)
		c := dial(t, srv.Server, "/?user=a")
		only(t, srv.Server, "a").Close(4001, "server")
		c.send(ws.OpClose, closePayload(4002, "client")) // has not read ours
		c.wantClose(4001)
		c.wantEnd()
		srv.wantClosed(t, 4001, "server") // of the side that ended it first: Hooks.OnClose
	})
}

func TestCloseIsBounded(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		tests := []struct {
			name string
			end  func(s *Session, c *client)
			code Code
		}{
			{"the client does not answer Close", func(s *Session, c *client) { s.Close(4000, "") }, 4000},
			{"the client stays after a protocol error", func(s *Session, c *client) {
				c.say("\xff\xff")
				await(t, "failure", func() bool { return s.phase() == lingering })
			}, 1002},
			{"the client goes on talking", func(s *Session, c *client) {
				s.Close(4000, "")
				for range 100 {
					c.send(Text, "la la la")
				}
			}, 4000},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				s := only(t, srv.Server, "a")
				test.end(s, c)
				c.wantClose(test.code)
				srv.pass(srv.cfg.CloseTimeout - tick)
				if n := srv.stats.Forced.Load(); n != 0 {
					t.Error("cut off too early")
				}
				srv.pass(3 * tick)
				srv.wantClosed(t, test.code, map[Code]string{1002: "reserved bits set"}[test.code])
				if n := srv.stats.Forced.Load(); n != 1 {
					t.Errorf("%d were counted as cut off", n)
				}
				c.wantGone()
			})
		}
	})
}

// A heartbeat that is armed while the session is closed does not put the end off.
func TestCloseIsBoundedBesideHeartbeat(t *testing.T) {
	srv := startClose(t, netpoll.Epoll)
	c := dial(t, srv.Server, "/?user=a")
	s := only(t, srv.Server, "a")
	s.Close(4000, "")
	s.armHeartbeat(ticks(srv.cfg.PingInterval)) // as heartbeat and open do, a moment too late
	c.wantClose(4000)
	srv.pass(srv.cfg.CloseTimeout + 2*tick)
	if n := srv.stats.Forced.Load(); n != 1 {
		t.Error("not cut off in time")
	}
}

// A client that breaks the connection off is 1006, RFC 6455, 7.1.5.
func TestConnectionBreaks(t *testing.T) {
	tests := []struct {
		name  string
		leave func(c *client)
	}{
		{"end of the stream", func(c *client) { c.Close() }},
		{"reset", (*client).reset},
		{"end within a frame", func(c *client) { c.say("\x81\x85abc"); c.Close() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				test.leave(c)
				srv.wantClosed(t, 1006, "")
			})
		})
	}
}

// RFC 6455, 7.1.7: the connection is failed with the code for the rule that was
// broken, the client sees the code although it was still sending, and no message
// after it is delivered. The rules are package frame's.
func TestConnectionFails(t *testing.T) {
	big := strings.Repeat("x", 1001)
	tests := []struct {
		name   string
		bytes  string
		code   Code
		reason string
	}{
		{"reserved bit", "\xc1\x80abcd", 1002, "reserved bits set"},                                                       // 5.2
		{"reserved opcode", "\x83\x80abcd", 1002, "reserved opcode"},                                                      // 5.2
		{"not masked", "\x81\x01x", 1002, "frame is not masked"},                                                          // 5.1
		{"fragmented ping", "\x09\x80abcd", 1002, "control frame is fragmented"},                                          // 5.5
		{"long ping", "\x89\xfe\x00\x7eabcd", 1002, "control frame is longer than 125 bytes"},                             // 5.5
		{"length of two sizes", "\x82\xfe\x00\x7dabcd", 1002, "length is not encoded minimally"},                          // 5.2
		{"continuation without a message", "\x80\x80abcd", 1002, "continuation without a message"},                        // 5.4
		{"text is not UTF-8", string(masked(Text, true, []byte("\xff"))), 1007, "text is not UTF-8"},                      // 8.1
		{"text is not UTF-8, and goes on", string(masked(Text, true, []byte("\xff....")))[:8], 1007, "text is not UTF-8"}, // at the first byte
		{"too big", string(masked(Binary, true, []byte(big))), 1009, "message is too big"},
		{"declared too big", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009, "message is too big"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := startClose(t, transport)
				c := dial(t, srv.Server, "/?user=a")
				c.send(Text, "before")
				c.say(test.bytes + string(masked(Text, true, []byte("after"))))
				c.wantClose(test.code)
				c.wantEnd()
				c.say("more")
				c.Close()
				srv.wantClosed(t, test.code, test.reason)
				if m := receive(t, "message", srv.messages); m != "before" || len(srv.messages) != 0 {
					t.Errorf("messages %q and %d more", m, len(srv.messages))
				}
			})
		})
	}
}

// The frames that a client sent together with its request belong to the
// decoder, also when OnOpen has closed the session already.
func TestCloseInOnOpen(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep := Endpoint{Path: "/", Hooks: Hooks{OnOpen: func(s *Session) { s.Close(4000, "go") }}}
		srv, h := startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := connect(t, srv)
		text := string(masked(Text, true, []byte("hello")))
		c.say(handshakeFor("/") + text[:3])
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		c.wantClose(4000)
		c.say(text[3:])
		c.send(ws.OpClose, closePayload(4000, ""))
		c.wantEnd() // without help of the timer, which stands still
		await(t, "end", func() bool { return srv.connections.Load() == 0 })
		h.pass(time.Minute)
		if n := srv.stats.Forced.Load(); n != 0 {
			t.Error("was cut off")
		}
	})
}

// Queued messages go out before the close frame.
func TestCloseFollowsQueuedMessages(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := startClose(t, transport)
		c := dial(t, srv.Server, "/?user=a")
		s := only(t, srv.Server, "a")
		payload := strings.Repeat("x", 32<<10)
		sent := 0
		for s.Queued() == 0 {
			if err := s.Send(Text, []byte(payload)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		s.Close(1000, "")
		for range sent {
			c.want(Text, payload)
		}
		c.wantClose(1000)
	})
}

// No timer of a session stays armed after its end, however the two meet.
func TestTimersEndWithTheirSession(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		var begun atomic.Int32
		each(4, func(i int) {
			for begun.Add(1) <= 400 {
				c := dial(t, srv, "/ws?user=u"+fmt.Sprint(i))
				s := only(t, srv, "u"+fmt.Sprint(i))
				go c.reset()
				s.Close(1000, "")
				await(t, "end", func() bool { return len(userSessions(srv, "u"+fmt.Sprint(i))) == 0 })
			}
		})
		await(t, "end", func() bool { return srv.connections.Load() == 0 })
		if n := srv.wheel.Armed(); n != 0 {
			t.Errorf("%d timers of sessions that are over are armed", n)
		}
	})
}
