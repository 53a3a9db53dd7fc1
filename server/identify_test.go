package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
)

// asked is a call of a blocking Identifier.
type asked struct {
	ctx    context.Context
	user   string
	answer chan error // nil: the user
}

// blocking is an endpoint whose Identifier waits for the test, or for its context.
func blocking(hooks Hooks) (Endpoint, chan *asked) {
	calls := make(chan *asked, 1000)
	return Endpoint{Path: "/slow", Hooks: hooks, Identifier: func(ctx context.Context, r *Request) (Identity, error) {
		call := &asked{ctx, r.Query("user"), make(chan error, 1)}
		calls <- call
		select {
		case err := <-call.answer:
			return Identity{User: r.Query("user")}, err
		case <-ctx.Done():
			return Identity{}, ctx.Err()
		}
	}}, calls
}

// An Identifier that blocks does not delay other connections, whatever the number of
// workers.
func TestIdentifierBlocks(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep, calls := blocking(Hooks{})
		srv := start(t, Config{Transport: transport, Workers: 1, Endpoints: []Endpoint{ep, EchoEndpoint("/echo")}})
		const n = 20
		var waiting []*client
		for i := range n {
			c := connect(t, srv)
			c.say(handshakeFor(fmt.Sprint("/slow?user=u", i)))
			waiting = append(waiting, c)
		}
		var pending []*asked
		for range n {
			pending = append(pending, receive(t, "Identifier", calls))
		}
		other := dial(t, srv, "/echo")
		other.send(Text, "served meanwhile")
		other.want(Text, "served meanwhile")
		if srv.Count() != 1 {
			t.Errorf("%d sessions, want 1", srv.Count())
		}
		for _, p := range pending {
			if deadline, ok := p.ctx.Deadline(); !ok || time.Until(deadline) > srv.cfg.HandshakeTimeout+2*tick {
				t.Errorf("deadline %v, %t", deadline, ok)
			}
			p.answer <- nil
		}
		for i, c := range waiting {
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Errorf("%d: status %d", i, resp.StatusCode)
			}
			await(t, "session", func() bool { return len(userSessions(srv, fmt.Sprint("u", i))) == 1 })
		}
		for _, p := range pending {
			if p.ctx.Err() == nil {
				t.Error("a context has not ended with its Identifier")
			}
		}
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 && beingIdentified(srv) == 0 })
		if s := only(t, srv, "u0"); s.ext.Load() != nil || s.state.Load()&identifierBit != 0 {
			t.Error("a session keeps something of its identification")
		}
	})
}

// Connections beyond Config.Identifiers wait without a goroutine, in order; one that is
// closed gives up its place in the queue.
func TestIdentifiersAreBounded(t *testing.T) {
	ep, calls := blocking(Hooks{})
	srv := start(t, Config{Identifiers: 2, Endpoints: []Endpoint{ep}})
	var clients []*client
	for i := range 6 {
		c := connect(t, srv)
		c.say(handshakeFor(fmt.Sprint("/slow?user=", i)))
		clients = append(clients, c)
		await(t, "it runs or waits", func() bool {
			running, waiting := srv.identifiers.Load()
			return running == min(i+1, 2) && waiting == max(i-1, 0)
		})
	}
	first := []*asked{receive(t, "Identifier", calls), receive(t, "Identifier", calls)}
	clients[3].Close() // waits
	await(t, "its place is given up", func() bool { _, waiting := srv.identifiers.Load(); return waiting == 3 })
	for _, p := range first {
		p.answer <- nil
	}
	for range 3 {
		p := receive(t, "Identifier", calls)
		if p.user == "3" {
			t.Error("a client that has left was identified")
		}
		p.answer <- nil
	}
	for _, i := range []int{0, 1, 2, 4, 5} {
		if resp := clients[i].answer(); resp.StatusCode != 101 {
			t.Errorf("%d: status %d", i, resp.StatusCode)
		}
	}
	await(t, "nothing is left", func() bool {
		running, waiting := srv.identifiers.Load()
		return running == 0 && waiting == 0 && srv.memory.Held() == 0 && beingIdentified(srv) == 0
	})
}

// The context ends when the client leaves, and no session opens.
func TestIdentifierClientLeaves(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep, calls := blocking(Hooks{OnOpen: func(*Session) { t.Error("a session opened") }})
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := connect(t, srv)
		c.say(handshakeFor("/slow?user=a"))
		p := receive(t, "Identifier", calls)
		c.Close()
		receive(t, "the context's end", p.ctx.Done())
		if err := p.ctx.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the context ended with %v", err)
		}
		await(t, "the connection is gone", func() bool { return srv.connections.Load() == 0 })
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 })
		if srv.Count() != 0 || srv.users.Users() != 0 {
			t.Error("there is a session")
		}
	})
}

// With Config.HandshakeTimeout the client is rejected, also if the Identifier does not
// look at its context, and if it waits for a place.
func TestIdentifierTimeout(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		stuck := make(chan struct{})
		var calls atomic.Int32
		ep := Endpoint{Path: "/stuck", Identifier: func(context.Context, *Request) (Identity, error) {
			calls.Add(1)
			<-stuck
			return Identity{User: "late"}, Reject(401, "comes too late")
		}}
		srv := start(t, Config{Transport: transport, Identifiers: 1, HandshakeTimeout: tick, Endpoints: []Endpoint{ep}})
		var clients []*client
		for range 2 {
			c := connect(t, srv)
			c.say(handshakeFor("/stuck"))
			clients = append(clients, c)
		}
		for _, c := range clients {
			resp := c.answer()
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
			}
			explains(t, resp, c.head)
			c.wantEnd()
			c.Close()
		}
		close(stuck)
		await(t, "nothing is left", func() bool {
			running, waiting := srv.identifiers.Load()
			return running == 0 && waiting == 0 && srv.connections.Load() == 0 && srv.memory.Held() == 0
		})
		if n := srv.stats.Rejected[401].Load(); n != 0 {
			t.Errorf("%d clients were rejected twice", n)
		}
		if n := calls.Load(); n != 1 || srv.users.Users() != 0 {
			t.Errorf("the Identifier was called %d times, there are %d users", n, srv.users.Users())
		}
	})
}

// Bytes that a client sends before the answer are kept in order, up to a bound.
func TestIdentifierEarlyBytes(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep, calls := blocking(Hooks{OnMessage: func(s *Session, op Op, payload []byte) { s.Send(op, payload) }})
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		t.Run("kept", func(t *testing.T) {
			c := connect(t, srv)
			hello := string(masked(Text, true, []byte("with the request")))
			c.say(handshakeFor("/slow?user=a") + hello[:5])
			p := receive(t, "Identifier", calls)
			c.say(hello[5:] + string(masked(Text, true, []byte("later"))))
			await(t, "the bytes arrive", func() bool { return earlyBytes(srv) > len(hello) })
			p.answer <- nil
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			c.want(Text, "with the request")
			c.want(Text, "later")
			c.send(Text, "after")
			c.want(Text, "after")
		})
		for name, ahead := range map[string]int{"too many with the request": maxEarly + 1, "too many later": 10} {
			t.Run(name, func(t *testing.T) {
				c := connect(t, srv)
				c.say(handshakeFor("/slow?user=b") + strings.Repeat("x", ahead))
				if ahead < maxEarly {
					p := receive(t, "Identifier", calls)
					c.say(strings.Repeat("x", maxEarly))
					receive(t, "the context's end", p.ctx.Done())
				}
				if resp := c.answer(); resp.StatusCode != 400 {
					t.Errorf("status %d, want 400", resp.StatusCode)
				}
				c.wantEnd()
				c.Close()
			})
		}
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 })
	})
}

// beingIdentified counts the sessions that wait for an Identifier.
func beingIdentified(srv *Server) int {
	srv.identifying.mu.Lock()
	defer srv.identifying.mu.Unlock()
	return len(srv.identifying.of)
}

// earlyBytes counts the bytes that sessions keep while they are identified.
func earlyBytes(srv *Server) (n int) {
	srv.identifying.mu.Lock()
	var all []*identification
	for _, p := range srv.identifying.of {
		all = append(all, p)
	}
	srv.identifying.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		n += len(p.early)
		p.mu.Unlock()
	}
	return n
}

// Hooks of a session never overlap and OnClose is the last, also when it opens on
// another goroutine and its connection breaks at the same time.
func TestIdentifierHooksDoNotOverlap(t *testing.T) {
	t.Run("connection breaks", func(t *testing.T) { hooksDoNotOverlap(t, false) })
	t.Run("and bytes came before", func(t *testing.T) { hooksDoNotOverlap(t, true) })
}

func hooksDoNotOverlap(t *testing.T, send bool) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var in atomic.Int32
		opening, proceed, closed := make(chan struct{}), make(chan struct{}), make(chan frame.CloseError, 1)
		hook := func(f func()) {
			if in.Add(1) != 1 {
				t.Error("hooks overlap")
			}
			f()
			in.Add(-1)
		}
		ep, calls := blocking(Hooks{
			OnOpen:    func(*Session) { hook(func() { opening <- struct{}{}; <-proceed }) },
			OnMessage: func(*Session, Op, []byte) { hook(func() {}) },
			OnClose:   func(_ *Session, why frame.CloseError) { hook(func() { closed <- why }) },
		})
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := connect(t, srv)
		c.say(handshakeFor("/slow?user=a"))
		receive(t, "Identifier", calls).answer <- nil
		receive(t, "OnOpen", opening)
		if send {
			c.send(Text, "while OnOpen runs")
		}
		c.Close()
		select {
		case <-closed:
			t.Error("OnClose ran while OnOpen did")
		case <-time.After(50 * time.Millisecond): // that it does not overlap later is seen by hook
		}
		close(proceed)
		receive(t, "OnClose", closed)
	})
}

// Shutdown ends the contexts, and answers the clients.
func TestIdentifierShutdown(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep, calls := blocking(Hooks{})
		srv := start(t, Config{Transport: transport, Identifiers: 1, Endpoints: []Endpoint{ep}})
		var clients []*client
		for range 2 {
			c := connect(t, srv)
			c.say(handshakeFor("/slow?user=a"))
			clients = append(clients, c)
			await(t, "it is seen", func() bool { r, w := srv.identifiers.Load(); return r+w == len(clients) })
		}
		p := receive(t, "Identifier", calls)
		done := shutdown(srv, context.Background())
		for _, c := range clients {
			if resp := c.answer(); resp.StatusCode != 503 {
				t.Errorf("status %d, want 503", resp.StatusCode)
			}
			c.Close()
		}
		receive(t, "the context's end", p.ctx.Done())
		if err := receive(t, "Shutdown", done); err != nil {
			t.Error(err)
		}
	})
}

// Where each part of a handshake fails, a session opens or the client has its answer,
// whatever comes at the same time.
func TestIdentifierRaces(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var opened, closed atomic.Int32
		ep := Endpoint{Path: "/race", Hooks: Hooks{
			OnOpen:  func(s *Session) { opened.Add(1) },
			OnClose: func(*Session, frame.CloseError) { closed.Add(1) },
		}, Identifier: func(ctx context.Context, r *Request) (Identity, error) {
			if r.Query("fail") != "" {
				return Identity{}, Reject(401, "no")
			}
			return Identity{User: "a"}, nil
		}}
		srv := start(t, Config{Transport: transport, Identifiers: 3, SessionsPerUser: 1000, Endpoints: []Endpoint{ep}})
		for i := range 200 {
			c := connect(t, srv)
			target := "/race"
			if i%3 == 0 {
				target += "?fail=1"
			}
			c.say(handshakeFor(target) + string(masked(Text, true, []byte("early"))))
			switch i % 4 {
			case 0:
				c.Close()
			case 1:
				c.send(Text, "more")
				c.Close()
			default:
				want := 101
				if i%3 == 0 {
					want = 401
				}
				if resp := c.answer(); resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
				c.Close()
			}
		}
		await(t, "all are gone", func() bool { return srv.connections.Load() == 0 && srv.sessions.Load() == 0 })
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 })
		if o, c := opened.Load(), closed.Load(); o != c || o < 60 {
			t.Errorf("%d sessions opened, %d closed", o, c)
		}
		if srv.users.Users() != 0 || beingIdentified(srv) != 0 {
			t.Error("something is left")
		}
	})
}
