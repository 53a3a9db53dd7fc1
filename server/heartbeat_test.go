package server

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// only is the one session of a user.
func only(t testing.TB, srv *Server, user string) *Session {
	t.Helper()
	all := userSessions(srv, user)
	if len(all) != 1 {
		t.Fatalf("%s has %d sessions, want one", user, len(all))
	}
	return all[0]
}

// until lets time go by until a counter is n, and returns how long it took.
func (h *manualClock) until(t testing.TB, what string, n int64, counter func() int64) (took time.Duration) {
	t.Helper()
	for counter() < n {
		if took > time.Hour {
			t.Fatalf("did not happen in an hour: %s", what)
		}
		h.pass(tick)
		took += tick
	}
	return took
}

// wantAbout allows for the two ticks by which rounding may be late; being early is
// an error.
func wantAbout(t testing.TB, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+2*tick {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

func TestHeartbeat(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		t.Run("silent client is pinged, then closed", func(t *testing.T) {
			closed := make(chan frame.CloseError, 1)
			ep := PushEndpoint("/ws")
			ep.Hooks.OnClose = func(_ *Session, why frame.CloseError) { closed <- why }
			srv, h := startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
			c := dial(t, srv, "/ws?user=a")
			wantAbout(t, "pinged", h.until(t, "ping", 1, srv.stats.Pings.Load), 25*time.Second)
			c.want(ws.OpPing, "")
			wantAbout(t, "given up", h.until(t, "given up", 1, srv.stats.Dead.Load), 10*time.Second)
			if why := receive(t, "OnClose", closed); why.Code != 1006 {
				t.Errorf("OnClose has %d", why.Code)
			}
			c.wantGone()
			if n := srv.stats.Pings.Load(); n != 1 {
				t.Errorf("%d pings", n)
			}
			if n := srv.stats.Closes[1006].Load(); n != 1 {
				t.Errorf("%d closes with 1006 were counted", n)
			}
		})
		t.Run("pong keeps alive", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport, PingInterval: 3 * time.Second, PingTimeout: time.Second})
			c := dial(t, srv, "/ws?user=a")
			s := only(t, srv, "a")
			for i := range int64(5) {
				wantAbout(t, "pinged", h.until(t, "ping", i+1, srv.stats.Pings.Load), 3*time.Second)
				c.want(ws.OpPing, "")
				h.pass(tick)
				c.send(ws.OpPong, "")
				await(t, "pong", func() bool { return s.heard.Load() == srv.tick.Load() })
			}
			h.pass(2 * time.Second)
			if s.phase() != open || srv.stats.Dead.Load() != 0 {
				t.Error("was closed")
			}
		})
		t.Run("interval shorter than the timeout", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport, PingInterval: time.Second, PingTimeout: 5 * time.Second})
			c := dial(t, srv, "/ws?user=a")
			s := only(t, srv, "a")
			for i := range int64(5) {
				wantAbout(t, "pinged", h.until(t, "ping", i+1, srv.stats.Pings.Load), time.Second)
				c.want(ws.OpPing, "")
				h.pass(tick)
				c.send(ws.OpPong, "")
				await(t, "pong", func() bool { return s.heard.Load() == srv.tick.Load() })
			}
			h.until(t, "ping", 6, srv.stats.Pings.Load)
			wantAbout(t, "given up", h.until(t, "given up", 1, srv.stats.Dead.Load), 5*time.Second)
			if n := srv.stats.Pings.Load(); n != 6 {
				t.Errorf("%d pings, want no second one after the last", n)
			}
		})
		t.Run("half a header is a sign of life", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport})
			c := dial(t, srv, "/ws?user=a")
			s := only(t, srv, "a")
			frame := masked(Text, true, []byte("hello"))
			for i := range len(frame) - 1 {
				h.pass(20 * time.Second)
				c.say(string(frame[i : i+1]))
				await(t, "byte", func() bool { return s.heard.Load() == srv.tick.Load() })
			}
			if n := srv.stats.Pings.Load(); n != 0 {
				t.Errorf("%d pings in between", n)
			}
			wantAbout(t, "pinged", h.until(t, "ping", 1, srv.stats.Pings.Load), 25*time.Second)
		})
		t.Run("what we send is none", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport})
			c := dial(t, srv, "/ws?user=a")
			for range 24 {
				h.pass(time.Second)
				push(srv, "a", Text, []byte("x"))
				c.want(Text, "x")
			}
			h.pass(time.Second + 2*tick)
			if n := srv.stats.Pings.Load(); n != 1 {
				t.Errorf("%d pings, want 1", n)
			}
		})
		t.Run("life between ping and timeout", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport, PingInterval: time.Second, PingTimeout: 5 * time.Second})
			c := dial(t, srv, "/ws?user=a")
			s := only(t, srv, "a")
			h.until(t, "ping", 1, srv.stats.Pings.Load)
			h.pass(4 * time.Second)
			c.send(Text, "not a pong, but alive")
			await(t, "message", func() bool { return s.heard.Load() == srv.tick.Load() })
			h.pass(3 * time.Second)
			if s.phase() != open {
				t.Error("was closed")
			}
			if n := srv.stats.Pings.Load(); n != 2 {
				t.Errorf("%d pings, want one more", n)
			}
		})
		t.Run("each by itself", func(t *testing.T) {
			srv, h := startStopped(t, Config{Transport: transport, PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second})
			a := dial(t, srv, "/ws?user=a")
			h.pass(3 * time.Second)
			b := dial(t, srv, "/ws?user=b")
			h.pass(7*time.Second + 2*tick)
			a.want(ws.OpPing, "")
			if n := srv.stats.Pings.Load(); n != 1 {
				t.Errorf("%d pings", n)
			}
			h.pass(3 * time.Second)
			b.want(ws.OpPing, "")
			h.pass(2 * time.Second)
			a.wantGone()
			if only(t, srv, "b").phase() != open {
				t.Error("b is closed too")
			}
		})
	})
}

// A process that did not run for a while, because it was stopped or its machine
// slept, pings before it gives up: what clients sent may still be unread.
func TestHeartbeatAfterAGap(t *testing.T) {
	srv, h := startStopped(t, Config{})
	c := dial(t, srv, "/ws?user=a")
	h.now.Add(int64(10 * time.Minute))
	h.clock.beat()
	c.want(ws.OpPing, "")
	if n := srv.stats.Dead.Load(); n != 0 {
		t.Error("given up without a ping")
	}
}

func TestHeartbeatsCostNothing(t *testing.T) {
	const sessions = 100
	srv, h := startStopped(t, Config{Transport: netpoll.Epoll})
	before := runtime.NumGoroutine()
	var all []*Session
	for i := range sessions {
		user := fmt.Sprint("u", i)
		dial(t, srv, "/ws?user="+user)
		all = append(all, only(t, srv, user))
	}
	// A worker that a batch has started, because it took long, ends after it.
	await(t, fmt.Sprintf("as many goroutines with %d connections as without", sessions), func() bool { return runtime.NumGoroutine() <= before })
	round := func() {
		h.pass(25 * time.Second)
		for _, s := range all {
			s.heard.Store(srv.tick.Load())
		}
	}
	round()
	pings := srv.stats.Pings.Load()
	allocs := testing.AllocsPerRun(10, round)
	if n := srv.stats.Pings.Load() - pings; n < 9*sessions {
		t.Errorf("%d pings in 11 rounds", n)
	}
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if allocs > 1 {
		t.Errorf("%v allocations for %d heartbeats", allocs, sessions)
	}
}

// A session whose hook blocks for longer than interval and timeout is not dead: its
// client's answers are unread. The same while other sessions' hooks block all workers.
func TestHeartbeatWhileHooksBlock(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, test := range []struct {
			name    string
			workers int
			blocked string // whose hook blocks
		}{{"its own hook", 8, "a"}, {"hooks of others", 1, "b"}} {
			if transport == netpoll.Goroutine && test.blocked != "a" {
				continue // a session of this transport does not wait for workers
			}
			t.Run(test.name, func(t *testing.T) {
				entered, leave := make(chan struct{}, 8), make(chan struct{})
				ep := PushEndpoint("/ws")
				ep.Hooks.OnMessage = func(s *Session, _ Op, payload []byte) {
					if string(payload) == "block" {
						entered <- struct{}{}
						<-leave
					}
				}
				srv, h := startStopped(t, Config{Transport: transport, Workers: test.workers, Endpoints: []Endpoint{ep},
					PingInterval: time.Second, PingTimeout: time.Second})
				a, b := dial(t, srv, "/ws?user=a"), dial(t, srv, "/ws?user=b")
				s := only(t, srv, "a")
				clients := map[string]*client{"a": a, "b": b}
				clients[test.blocked].send(Text, "block")
				receive(t, "the hook", entered)

				h.pass(time.Second + 2*tick)
				a.want(ws.OpPing, "")
				a.send(ws.OpPong, "")
				// On loopback what was sent is in the other socket's buffer. A turn that
				// has begun keeps the session alive in any case.
				await(t, "the pong arrives", s.conn.Active)
				h.pass(10 * time.Second)
				if p := s.phase(); p != open || srv.Stats().Closes["1006"] > 1 {
					t.Fatalf("phase %d, closes %v", p, srv.Stats().Closes)
				}
				close(leave)
				await(t, "the pong is read", func() bool { return s.heard.Load() == srv.tick.Load() && !s.conn.Active() })

				// The peer falls silent: it is found again.
				h.until(t, "closed", 1, func() int64 {
					if s.conn.CanWrite() {
						return 0
					}
					return 1
				})
				a.wantGone()
			})
		}
	})
}

// A process that was stopped finds all deadlines in the past. Clients that have answered,
// or are about to, are not closed; their pings are spread over an interval; and one that
// is gone is found with the next ping.
func TestHeartbeatAfterAStop(t *testing.T) {
	for _, stop := range []time.Duration{4 * time.Second, time.Hour} {
		t.Run(stop.String(), func(t *testing.T) {
			const sessions = 40
			srv, h := startStopped(t, Config{PingInterval: 5 * time.Second, PingTimeout: 2 * time.Second, SessionsPerUser: 1 + sessions})
			var clients []*client
			for range sessions {
				clients = append(clients, dial(t, srv, "/ws?user=a"))
			}
			h.until(t, "pings", sessions, srv.stats.Pings.Load)
			for _, c := range clients {
				c.want(ws.OpPing, "")
			}
			// Their answers are still in the network when the process is stopped.
			h.now.Add(int64(stop))
			h.clock.beat()
			if n := srv.stats.Dead.Load(); n != 0 {
				t.Fatalf("%d sessions were closed at once", n)
			}
			most, before := int64(0), srv.stats.Pings.Load()
			for i := range 5*time.Second/tick + 1 {
				if n := srv.stats.Dead.Load(); n != 0 && i < 2*time.Second/tick {
					t.Fatalf("%d sessions were closed before a ping has timed out", n)
				}
				n := srv.stats.Pings.Load()
				h.pass(tick)
				most = max(most, srv.stats.Pings.Load()-n)
			}
			if n := srv.stats.Pings.Load() - before; n < sessions {
				t.Errorf("%d of %d sessions were pinged within an interval", n, sessions)
			}
			if most > sessions/2 {
				t.Errorf("%d of %d sessions were pinged at once", most, sessions)
			}
			h.pass(2*time.Second + 2*tick)
			if n := srv.stats.Dead.Load(); n != sessions {
				t.Errorf("%d of %d silent sessions were found", n, sessions)
			}
		})
	}
}

// A handshake and a closing handshake get a second more after a stop: what their clients
// have sent may be unread.
func TestDeadlinesAfterAStop(t *testing.T) {
	srv, h := startStopped(t, Config{PingInterval: 24 * time.Hour})
	shaking := connect(t, srv)
	await(t, "connection", func() bool { return srv.engine.Opened() == 1 })
	h.pass(tick)
	closing := dial(t, srv, "/ws?user=a")
	only(t, srv, "a").Close(1000, "")
	closing.wantClose(1000)

	h.now.Add(int64(time.Minute))
	h.clock.beat()
	if n := srv.stats.Rejected[408].Load() + srv.stats.Forced.Load(); n != 0 {
		t.Fatal("closed at once")
	}
	shaking.say(handshakeFor("/ws?user=b"))
	if resp := shaking.answer(); resp.StatusCode != 101 {
		t.Errorf("status %d", resp.StatusCode)
	}
	h.pass(time.Second + 2*tick)
	if n := srv.stats.Forced.Load(); n != 1 {
		t.Errorf("%d closing handshakes were ended, want 1", n)
	}
	await(t, "end", func() bool { return srv.engine.Opened() == 1 })
	silent := connect(t, srv)
	await(t, "connection", func() bool { return srv.engine.Opened() == 2 })
	h.pass(srv.cfg.HandshakeTimeout + 2*tick)
	if resp := silent.answer(); resp.StatusCode != 408 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
