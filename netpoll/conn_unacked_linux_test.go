package netpoll

import (
	"crypto/tls"
	"testing"
	"time"
)

// A connection whose peer takes nothing ends although the server only writes. To TCP a peer
// that has vanished looks the same.
func TestLimitUnacknowledged(t *testing.T) {
	cert := certificate(t)
	for _, tt := range []struct {
		name      string
		transport Transport
		tls       bool
	}{
		{"epoll", Epoll, false},
		{"easygo", Easygo, false},
		{"goroutine", Goroutine, false},
		{"wrapped", Epoll, true}, // a net.Conn that is not a socket
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, Config{Transport: tt.transport, QueueBytes: 8 << 20})
			client, nc := accepted(t, "tcp")
			s := newSession(t, nil)
			if tt.tls {
				nc = tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}})
			}
			if err := e.Adopt(nc, &s.Conn, s, nil); err != nil {
				t.Fatal(err)
			}
			s.LimitUnacknowledged(50 * time.Millisecond)
			if tt.tls {
				s.Conn.Close()
				await(t, s.closed)
				return
			}
			must(t, client, "x")
			expect(t, client, "x")
			for range 8 {
				s.Write(make([]byte, 512<<10), CloseOnFull)
			}
			await(t, s.closed)
			// The kernel reports the end once: of the two goroutines of a connection, the one
			// that reads may be the first to learn of it.
			if n := e.Stats().Broken; n != 1 && (tt.transport != Goroutine || n != 0) {
				t.Errorf("%d broken writes", n)
			}
			s.LimitUnacknowledged(time.Second) // has no effect
		})
	}
}
