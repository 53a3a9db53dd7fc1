package server

import (
	"testing"
	"time"

	"fanfare/server/internal/handshake"
)

// A user's session whose client has vanished makes room when its ping has not been
// answered in time. Retry-After says how long that takes.
func TestRetryAfterOfSessionsPerUser(t *testing.T) {
	srv, h := startStopped(t, Config{SessionsPerUser: 2, PingInterval: time.Hour, PingTimeout: 7 * time.Second})
	h.pass(tick)
	dial(t, srv, "/ws?user=a")
	dial(t, srv, "/ws?user=a")
	await(t, "two sessions", func() bool { return srv.Count() == 2 })
	h.pass(10 * time.Second)
	for _, step := range []struct {
		pass time.Duration
		want string
	}{
		{0, "7"}, {tick, "7"}, {900 * time.Millisecond, "6"}, {5 * time.Second, "1"}, {900 * time.Millisecond, "1"},
	} {
		h.pass(step.pass)
		c := connect(t, srv)
		c.say(handshakeFor("/ws?user=a"))
		if resp := c.answer(); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != step.want {
			t.Errorf("%v later: status %d, Retry-After %q, want %s", step.pass, resp.StatusCode, resp.Header.Get("Retry-After"), step.want)
		}
		c.Close()
	}
	h.pass(tick)
	await(t, "their heartbeats are missed", func() bool { return srv.Count() == 0 })
	dial(t, srv, "/ws?user=a")
}

// Where the time is not known, clients that are rejected at once come back at different
// times.
func TestRetryAfterIsSpread(t *testing.T) {
	srv, _ := startStopped(t, Config{})
	for _, test := range []struct {
		random func(int64) int64
		want   string
	}{
		{func(int64) int64 { return 0 }, "5"},
		{func(n int64) int64 { return n / 2 }, "8"},
		{func(n int64) int64 { return n - 1 }, "10"},
	} {
		srv.random = test.random
		for _, r := range []*Rejection{handshake.ErrGoingAway, handshake.ErrFull, handshake.ErrNoMemory, handshake.ErrAddressFull, handshake.ErrIdentifySlow} {
			got := srv.rejection(r)
			if after := got.Header.Get("Retry-After"); after != test.want || got.Status != r.Status || got.Why() != r.Why() {
				t.Errorf("%v: Retry-After %q, want %s", got, after, test.want)
			}
			if r.Header.Get("Retry-After") != "5" {
				t.Fatal("the shared rejection is changed")
			}
		}
		if got := srv.rejection(handshake.ErrTooSlow); got != handshake.ErrTooSlow {
			t.Errorf("%v has become %v", handshake.ErrTooSlow, got)
		}
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", tick: "1", time.Second: "1", time.Second + 1: "2", 30 * time.Second: "30"} {
		if got := handshake.After(handshake.ErrUserFull, d).Header.Get("Retry-After"); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
