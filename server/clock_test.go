package server

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
)

// The time for a request begins with the connection, and nothing that comes
// prolongs it.
func TestHandshakeTimeout(t *testing.T) {
	tests := []struct {
		name string
		drip string
	}{
		{"silent", ""},
		{"a byte a second", "GET /ws?user=a HTTP/1.1\r\nHost: localhost\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				srv, h := startStopped(t, Config{Transport: transport, HandshakeTimeout: 10 * time.Second})
				c := connect(t, srv)
				await(t, "connection", func() bool { return srv.engine.Opened() == 1 })
				for i := range 9 {
					if test.drip != "" {
						c.say(test.drip[i : i+1])
					}
					h.pass(time.Second)
				}
				if n := srv.stats.Rejected[408].Load(); n != 0 {
					t.Fatal("too early")
				}
				h.pass(time.Second + 2*tick)
				resp := c.answer()
				if resp.StatusCode != 408 || !resp.Close {
					t.Errorf("%d %v", resp.StatusCode, resp.Header)
				}
				c.wantEnd()
				if n := srv.stats.Rejected[408].Load(); n != 1 {
					t.Errorf("%d were counted", n)
				}
				// A client that does not go is cut off, also if it goes on talking.
				c.say("\r\n\r\n")
				h.pass(srv.cfg.CloseTimeout + 2*tick)
				await(t, "cut off", func() bool { return srv.connections.Load() == 0 })
			})
		})
	}
}

// The request may be complete in the same moment as its time is over: one of the
// two answers comes, and never a 408 after a 101.
func TestHandshakeTimeoutRace(t *testing.T) {
	rounds := 300
	if raceEnabled || testing.Short() {
		rounds = 80
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, h := startStopped(t, Config{Transport: transport, HandshakeTimeout: tick, PingInterval: time.Hour})
		served := 0
		for range rounds {
			c := connect(t, srv)
			await(t, "connection", func() bool { return srv.engine.Opened() == 1 })
			go c.Write([]byte(handshakeFor("/ws?user=a")))
			h.pass(2 * tick)
			switch resp := c.answer(); resp.StatusCode {
			case 101:
				served++
				await(t, "session", func() bool { return len(userSessions(srv, "a")) == 1 })
				push(srv, "a", Text, []byte("x"))
				c.want(Text, "x")
			case 408:
				c.wantEnd()
			default:
				t.Fatalf("status %d", resp.StatusCode)
			}
			c.Close()
			await(t, "end", func() bool { return srv.connections.Load() == 0 })
		}
		t.Logf("%d of %d in time", served, rounds)
	})
}

func TestTimers(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		fired := make(chan string, 10)
		ep := PushEndpoint("/ws")
		ep.Hooks.OnTimer = func(s *Session) {
			if s.User() == "panics" {
				panic("OnTimer")
			}
			fired <- s.User()
		}
		log := new(logBuffer)
		srv, h := startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{ep}, Logger: log.logger()})
		dial(t, srv, "/ws?user=a")
		dial(t, srv, "/ws?user=b")
		a, b := only(t, srv, "a"), only(t, srv, "b")

		a.SetTimer(3 * time.Second)
		h.pass(2 * time.Second)
		a.SetTimer(3 * time.Second) // replaces the one before
		b.SetTimer(2 * time.Second)
		h.pass(2 * time.Second)
		if user := h.receive(t, fired); user != "b" {
			t.Errorf("%s's timer came first", user)
		}
		h.pass(time.Second)
		if user := h.receive(t, fired); user != "a" {
			t.Errorf("%s's timer came second", user)
		}
		h.pass(10 * time.Second)
		if len(fired) != 0 {
			t.Error("a timer comes twice")
		}

		// It has nothing to do with the heartbeat's.
		h.pass(11 * time.Second)
		if n := srv.stats.Pings.Load(); n != 2 {
			t.Errorf("%d pings, want 2", n)
		}

		// A panic ends that session only.
		c := dial(t, srv, "/ws?user=panics")
		only(t, srv, "panics").SetTimer(tick)
		h.pass(2 * tick)
		await(t, "the panic", func() bool { h.clock.beat(); return srv.stats.Panics.Load() == 1 })
		c.wantClose(1011)
		if n := log.count("panic recovered"); n != 1 {
			t.Errorf("%d log lines of a panic", n)
		}

		// A session that is over has none.
		b.SetTimer(time.Second)
		b.Close(1000, "")
		h.pass(2 * time.Second)
		a.SetTimer(tick)
		h.pass(2 * tick)
		if user := h.receive(t, fired); user != "a" {
			t.Errorf("the timer of %s came, which is closed", user)
		}
	})
}

// receive waits for a timer that is due, without any time going by.
func (h *manualClock) receive(t testing.TB, fired <-chan string) (user string) {
	t.Helper()
	await(t, "the timer", func() bool {
		h.clock.beat() // offers it again
		select {
		case user = <-fired:
		default:
		}
		return user != ""
	})
	return user
}

// Timers that come due while an OnTimer takes long are called later, none twice.
func TestTimersWait(t *testing.T) {
	entered, leave := make(chan string), make(chan struct{})
	ep := PushEndpoint("/ws")
	ep.Hooks.OnTimer = func(s *Session) { entered <- s.User(); <-leave }
	srv, h := startStopped(t, Config{Endpoints: []Endpoint{ep}})
	for _, user := range []string{"a", "b", "c"} {
		dial(t, srv, "/ws?user="+user)
	}
	only(t, srv, "a").SetTimer(tick)
	h.pass(2 * tick)
	if user := h.receive(t, entered); user != "a" {
		t.Fatal(user)
	}
	for _, user := range []string{"b", "c"} {
		only(t, srv, user).SetTimer(tick)
		h.pass(2 * tick)
	}
	leave <- struct{}{}
	var got []string
	await(t, "the timers of b and c", func() bool {
		h.clock.beat() // offers them again; no time passes
		select {
		case user := <-entered:
			got = append(got, user)
			leave <- struct{}{}
		default:
		}
		return len(got) == 2
	})
	slices.Sort(got)
	if !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("timers of %s came", got)
	}
}

// A timer that is due, but waits for the OnTimer of another session, is moved by SetTimer: OnTimer is
// called once, at the later time. The same if the later time comes while it still waits.
func TestTimerSetAgainWhileItWaits(t *testing.T) {
	entered, leave := make(chan string), make(chan struct{})
	ep := PushEndpoint("/ws")
	ep.Hooks.OnTimer = func(s *Session) { entered <- s.User(); <-leave }
	srv, h := startStopped(t, Config{Endpoints: []Endpoint{ep}})
	for _, user := range []string{"a", "b", "c"} {
		dial(t, srv, "/ws?user="+user)
	}
	a, b, c := only(t, srv, "a"), only(t, srv, "b"), only(t, srv, "c")
	a.SetTimer(tick)
	h.pass(2 * tick)
	if user := h.receive(t, entered); user != "a" {
		t.Fatal(user)
	}
	// The timers of b and c come due while the hook of a runs.
	b.SetTimer(tick)
	c.SetTimer(tick)
	h.pass(2 * tick)
	b.SetTimer(5 * time.Second)
	c.SetTimer(tick)
	h.pass(2 * tick)
	a.SetTimer(10 * time.Second) // marks the end
	leave <- struct{}{}

	if user := h.receive(t, entered); user != "c" {
		t.Errorf("OnTimer of %s, want c", user)
	}
	leave <- struct{}{}
	h.pass(5 * time.Second)
	if user := h.receive(t, entered); user != "b" {
		t.Errorf("OnTimer of %s after 5 s, want b", user)
	}
	leave <- struct{}{}
	h.pass(5 * time.Second)
	if user := h.receive(t, entered); user != "a" {
		t.Errorf("OnTimer of %s after 10 s, want a", user)
	}
	leave <- struct{}{}
}

// A session is closed at the tick at which its identity expires, however long the ping
// interval is, and whatever was heard or said meanwhile.
func TestExpiry(t *testing.T) {
	for _, test := range []struct {
		name    string
		expires time.Duration
	}{
		{"before the first ping", 3 * time.Second},
		{"after several intervals", 95 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				var expires atomic.Int64 // Unix time in nanoseconds
				ep := Endpoint{Path: "/ws", NonBlocking: true, Identifier: func(context.Context, *Request) (Identity, error) {
					return Identity{User: "alice", Expires: time.Unix(0, expires.Load())}, nil
				}}
				srv, h := startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
				expires.Store(srv.started.Add(test.expires).UnixNano())
				c := dial(t, srv, "/ws")
				left := test.expires - 2*tick
				for ; left > 20*time.Second; left -= 20 * time.Second {
					h.pass(20 * time.Second)
					c.send(Text, "alive") // and so the timer is armed anew
					await(t, "message", func() bool { return srv.users.AppendUser(nil, "alice")[0].heard.Load() == srv.tick.Load() })
				}
				h.pass(left)
				if n := srv.Count(); n != 1 {
					t.Fatal("closed too early")
				}
				h.pass(3 * tick)
				c.wantClose(frame.StatusUnauthorized)
			})
		})
	}
}

func TestTickAt(t *testing.T) {
	srv := &Server{started: time.Now()}
	for name, tt := range map[string]struct {
		at   time.Time
		want uint32
	}{
		"none":           {time.Time{}, 0},
		"past":           {srv.started.Add(-time.Hour), 1},
		"now":            {srv.started, 1},
		"a minute":       {srv.started.Add(time.Minute), 600},
		"twelve years":   {srv.started.Add(12 * 365 * 24 * time.Hour), 12 * 365 * 24 * 36000},
		"fourteen years": {srv.started.Add(14 * 365 * 24 * time.Hour), 0},
	} {
		if got := srv.tickAt(tt.at); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
