package server

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestManyLogins: after a restart all come at once. Their connections are live
// before their inboxes have been looked at, no more of these at a time than there
// are workers, and everyone gets what waited. FANFARE_TEST_LOGINS sets how many
// come: 100,000 need as many descriptors twice, so each connects in turn.
func TestManyLogins(t *testing.T) {
	logins, waiting := 1000, 100
	if n, err := strconv.Atoi(os.Getenv("FANFARE_TEST_LOGINS")); err == nil {
		logins, waiting = n, n/10
	}
	cfg := withInbox(t)
	cfg.HandshakeRate = 1 << 20
	srv := start(t, cfg)
	var stored sync.WaitGroup
	for p := range 50 {
		stored.Go(func() {
			for i := p; i < waiting; i += 50 {
				pushDurable(t, srv, "user"+strconv.Itoa(i), "waits")
			}
		})
	}
	stored.Wait()
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := Config{Store: cfg.Store, HandshakeRate: 1 << 20}
	srv = start(t, again)
	begun := time.Now()
	most := 0
	const atOnce = 200
	gate := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range logins {
		gate <- struct{}{}
		most = max(most, srv.Stats().Replay.Waiting)
		all.Go(func() {
			defer func() { <-gate }()
			c := dial(t, srv, "/ws?user=user"+strconv.Itoa(i))
			if i < waiting {
				if got := c.messages(1, false); got[0] != "waits" {
					t.Errorf("user %d got %q", i, got)
				}
			}
			c.Close()
		})
	}
	all.Wait()
	await(t, "all were looked at", func() bool { return srv.Stats().Replay.Waiting == 0 })
	t.Logf("%d logins, %d with a message: %v; at most %d waited",
		logins, waiting, time.Since(begun).Round(time.Millisecond), most)
}
