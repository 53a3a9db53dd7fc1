package server

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

func TestSessionsCloseOldest(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var mu sync.Mutex
		var ended []frame.CloseError
		ep := PushEndpoint("/ws")
		ep.Hooks.OnClose = func(_ *Session, why frame.CloseError) {
			mu.Lock()
			ended = append(ended, why)
			mu.Unlock()
		}
		srv := start(t, Config{Transport: transport, SessionsPerUser: 2, SessionsFull: SessionsCloseOldest, Endpoints: []Endpoint{ep}})
		var clients []*client
		for range 4 {
			clients = append(clients, dial(t, srv, "/ws?user=a&topic=t"))
		}
		for i, c := range clients[:2] {
			c.wantClose(1008)
			c.send(ws.OpClose, closePayload(1008, ""))
			c.wantEnd()
			if i == 1 {
				await(t, "OnClose", func() bool { mu.Lock(); defer mu.Unlock(); return len(ended) == 2 })
			}
		}
		if got := receivers(srv.Push(t.Context(), "a", NewMessage(Text, []byte("to the newest")))); got != 2 {
			t.Errorf("a push reached %d, want 2", got)
		}
		if got := receivers(srv.Publish(t.Context(), "t", NewMessage(Text, []byte("to the topic")))); got != 2 {
			t.Errorf("a publish reached %d, want 2", got)
		}
		for _, c := range clients[2:] {
			c.want(Text, "to the newest")
			c.want(Text, "to the topic")
		}
		mu.Lock()
		for _, why := range ended {
			if why.Code != 1008 {
				t.Errorf("ended with %v", why)
			}
		}
		mu.Unlock()
		if n := srv.stats.ManySessions.Load(); n != 0 {
			t.Errorf("%d handshakes were rejected", n)
		}
		clients[2].Close()
		clients[3].Close()
		await(t, "all are gone", func() bool { return srv.sessions.Load() == 0 && srv.users.Users() == 0 })
	})
}

// Many come at once: each is accepted, and in the end as many are left as may be.
func TestSessionsCloseOldestAtOnce(t *testing.T) {
	const n, most = 40, 3
	srv := start(t, Config{SessionsPerUser: most, SessionsFull: SessionsCloseOldest})
	var wg sync.WaitGroup
	codes := make(chan int, n)
	for range n {
		c := connect(t, srv)
		wg.Go(func() {
			c.say(handshakeFor("/ws?user=a"))
			codes <- c.answer().StatusCode
		})
	}
	wg.Wait()
	close(codes)
	for code := range codes {
		if code != 101 {
			t.Errorf("status %d", code)
		}
	}
	await(t, "the older ones are closed", func() bool {
		return len(slices.DeleteFunc(userSessions(srv, "a"), func(s *Session) bool { return s.phase() != open })) == most
	})
}

// A handshake beyond the limit makes the server ask at once whether the user's sessions
// are alive, so that their places are free after PingTimeout.
func TestSessionsRejectProbes(t *testing.T) {
	srv, h := startStopped(t, Config{SessionsPerUser: 2, PingInterval: time.Hour, PingTimeout: time.Second})
	h.pass(tick)
	alive, dead := dial(t, srv, "/ws?user=a"), dial(t, srv, "/ws?user=a")
	await(t, "two sessions", func() bool { return srv.Count() == 2 })
	rejected := func() {
		t.Helper()
		c := connect(t, srv)
		c.say(handshakeFor("/ws?user=a"))
		if resp := c.answer(); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, want 429 with Retry-After", resp.StatusCode)
		}
		c.Close()
	}
	h.pass(10 * time.Second)
	rejected()
	for _, c := range []*client{alive, dead} {
		c.want(ws.OpPing, "")
	}
	rejected() // and do not ask twice
	if n := srv.stats.Pings.Load(); n != 2 {
		t.Errorf("%d pings, want 2", n)
	}
	h.pass(tick) // a pong in the ping's tick is not distinguished from an earlier one
	alive.send(ws.OpPong, "")
	alive.send(ws.OpPing, "sync")
	alive.want(ws.OpPong, "sync")
	h.pass(time.Second)
	await(t, "the dead one is gone", func() bool { return srv.Count() == 1 })
	dial(t, srv, "/ws?user=a")
	alive.send(ws.OpPing, "still here")
	alive.want(ws.OpPong, "still here")
	if n := srv.stats.Dead.Load(); n != 1 {
		t.Errorf("%d heartbeats were missed, want 1", n)
	}
}

func TestParseSessionsFull(t *testing.T) {
	for in, want := range map[string]SessionsFull{"reject": SessionsReject, "close-oldest": SessionsCloseOldest} {
		if got, err := ParseSessionsFull(in); got != want || err != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := ParseSessionsFull("oldest"); err == nil {
		t.Error("an unknown policy is accepted")
	}
	if _, err := New(Config{SessionsFull: 9}); err == nil {
		t.Error("an unknown policy is configured")
	}
}
