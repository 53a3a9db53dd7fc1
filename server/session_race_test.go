package server

import (
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
)

// rapidly calls f in bursts, with pauses in which other goroutines run, until stop.
func rapidly(f func(i int)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		pause := time.NewTicker(50 * time.Microsecond)
		defer pause.Stop()
		for i := 0; ; i++ {
			f(i)
			if i%8 == 0 {
				select {
				case <-quit:
					return
				case <-pause.C:
				}
			}
		}
	}()
	return func() { close(quit); <-done }
}

// A push during the handshake arrives after the answer, or not at all.
func TestPushRacesHandshake(t *testing.T) {
	rounds := 200
	if raceEnabled || testing.Short() {
		rounds = 30
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, QueueBytes: 2 << 10})
		big := []byte(strings.Repeat("x", 3<<10)) // more than the queue holds
		stop := rapidly(func(i int) {
			switch i % 4 {
			case 0:
				push(srv, "a", Text, []byte("push"))
			case 1:
				publish(srv, "t", Text, []byte("topic"))
			case 2:
				broadcast(srv, Text, big)
			case 3:
				push(srv, "a", Text, big)
			}
		})
		for range rounds {
			c := dial(t, srv, "/ws?user=a&topic=t") // fails if a frame comes first
			for range 3 {
				op, payload, err := c.frame()
				if err != nil {
					t.Fatal(err)
				}
				if op == ws.OpClose {
					break // it was too slow for its small queue
				}
				if len(payload) != len(big) && string(payload) != "push" && string(payload) != "topic" {
					t.Fatalf("got %x %.20q", op, payload)
				}
			}
			c.reset()
			await(t, "end", func() bool { return srv.Count() == 0 })
		}
		stop()
	})
}

// A session that is closed while it is entered in the registry gets its answer
// before its close frame.
func TestKickRacesHandshake(t *testing.T) {
	rounds := 300
	if raceEnabled || testing.Short() {
		rounds = 60
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		stop := rapidly(func(int) { srv.disconnectHere("a", 4000, "kicked") })
		for range rounds {
			c := dial(t, srv, "/ws?user=a")
			c.wantClose(4000)
			c.send(ws.OpClose, closePayload(4000, ""))
			c.wantEnd()
			await(t, "end", func() bool { return srv.connections.Load() == 0 })
		}
		stop()
		await(t, "no session is left", func() bool { return srv.sessions.Load() == 0 })
	})
}
