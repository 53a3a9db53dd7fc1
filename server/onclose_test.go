package server

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
)

// OnClose gets the code and reason of whatever ended the session first, and the client's
// address, also after a reset.
func TestOnCloseKnowsWhy(t *testing.T) {
	long := strings.Repeat("r", 200) // a close frame has room for 123 bytes
	for _, test := range []struct {
		name string
		end  func(s *Session, c *client)
		want CloseError
	}{
		{"Session.Close", func(s *Session, _ *client) { s.Close(4000, "bad json") }, CloseError{Code: 4000, Reason: "bad json"}},
		{"Session.Close without a reason", func(s *Session, _ *client) { s.Close(4000, "") }, CloseError{Code: 4000, Reason: ""}},
		{"long reason", func(s *Session, _ *client) { s.Close(4001, long) }, CloseError{Code: 4001, Reason: long}},
		{"code that is not sent", func(s *Session, _ *client) { s.Close(1006, "why") }, CloseError{Code: 1005, Reason: "why"}},
		{"Server.Disconnect", func(s *Session, _ *client) {
			s.srv().Disconnect(context.Background(), s.User(), 4002, "kicked")
		}, CloseError{Code: 4002, Reason: "kicked"}},
		{"two closes", func(s *Session, _ *client) { s.Close(4003, ""); s.Close(4004, "second") }, CloseError{Code: 4003, Reason: ""}},
		{"close frame of the client", func(_ *Session, c *client) { c.send(ws.OpClose, closePayload(4005, "bye")) }, CloseError{Code: 4005, Reason: "bye"}},
		{"client's after ours", func(s *Session, c *client) {
			s.Close(4006, "ours")
			c.send(ws.OpClose, closePayload(4007, "theirs"))
		}, CloseError{Code: 4006, Reason: "ours"}},
		{"rule broken", func(_ *Session, c *client) { c.say("\xff\x80\x00\x00\x00\x00") }, CloseError{Code: 1002, Reason: "reserved bits set"}},
		{"reset", func(_ *Session, c *client) { c.reset() }, CloseError{Code: 1006, Reason: ""}},
		{"end of the stream", func(_ *Session, c *client) { c.Close() }, CloseError{Code: 1006, Reason: ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				type end struct {
					why  CloseError
					addr netip.AddrPort
				}
				closed := make(chan end, 1)
				ep := PushEndpoint("/ws")
				ep.Hooks.OnClose = func(s *Session, why CloseError) { closed <- end{why, s.RemoteAddr()} }
				srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}, CloseTimeout: tick})
				c := dial(t, srv, "/ws?user=a")
				s, addr := only(t, srv, "a"), c.LocalAddr().String()
				test.end(s, c)
				got := receive(t, "OnClose", closed)
				if got.why != test.want {
					t.Errorf("got %+v, want %+v", got.why, test.want)
				}
				if got.addr.String() != addr || s.RemoteAddr() != got.addr {
					t.Errorf("address %v in OnClose, %v later, want %s", got.addr, s.RemoteAddr(), addr)
				}
			})
		})
	}
}

// Without an OnClose hook a session keeps neither reason nor address when it ends.
func TestNoOnCloseNoExtension(t *testing.T) {
	srv := start(t, Config{})
	c := dial(t, srv, "/ws?user=a")
	s := only(t, srv, "a")
	s.Close(4000, "reason")
	c.reset() // sends nothing: a meter of what clients send needs an extension
	await(t, "end", func() bool { return srv.connections.Load() == 0 })
	if s.ext.Load() != nil {
		t.Error("the session has an extension")
	}
}

// The context of a session ends when the session begins to close, however that happens,
// and is done at once if it is asked for later.
func TestContext(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(srv *Server, s *Session, c *client)
	}{
		{"Session.Close", func(_ *Server, s *Session, _ *client) { s.Close(4000, "") }},
		{"close frame", func(_ *Server, _ *Session, c *client) { c.send(ws.OpClose, "") }},
		{"reset", func(_ *Server, _ *Session, c *client) { c.reset() }},
		{"rule broken", func(_ *Server, _ *Session, c *client) { c.say("\xff\x80\x00\x00\x00\x00") }},
		{"shutdown", func(srv *Server, _ *Session, _ *client) {
			ctx, cancel := context.WithTimeout(context.Background(), tick)
			defer cancel()
			srv.Shutdown(ctx)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv := start(t, Config{Transport: transport})
				c := dial(t, srv, "/ws?user=a")
				s := only(t, srv, "a")
				ctx := s.Context()
				if ctx.Err() != nil || s.Context() != ctx {
					t.Fatal("the context is done, or another one each time")
				}
				test.end(srv, s, c)
				receive(t, "the end of the context", ctx.Done())
				if s.Context().Err() == nil {
					t.Error("a later call has a context that is not done")
				}
			})
		})
	}
	t.Run("asked for during the close", func(t *testing.T) {
		srv := start(t, Config{SessionsPerUser: 1000})
		for i := range 100 {
			user := fmt.Sprint("u", i)
			dial(t, srv, "/ws?user="+user)
			s := only(t, srv, user)
			go s.Close(4000, "")
			select {
			case <-s.Context().Done():
			case <-time.After(20 * time.Second):
				t.Fatal("the context did not end")
			}
		}
	})
	t.Run("idle sessions have none", func(t *testing.T) {
		srv := start(t, Config{})
		dial(t, srv, "/ws?user=a")
		if only(t, srv, "a").ext.Load() != nil {
			t.Error("the session has an extension")
		}
	})
}
