package netpoll

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An error of accept(2) must neither be repeated in a loop nor keep the listener from
// going on when it is over.
func TestAcceptErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno syscall.Errno
	}{
		{"stays in the list", unix.EPERM}, // a security module
		{"of a connection that is gone", unix.EPROTO},
		{"no descriptor", unix.EMFILE},
		{"unknown", unix.EDOM},
	} {
		pollers(t, func(t *testing.T, transport Transport) {
			t.Run(tt.name, func(t *testing.T) {
				var calls atomic.Int64
				var over atomic.Bool
				var log lineCounter
				e := newEngine(t, Config{Transport: transport, Logger: slog.New(&log)})
				e.accept = func(fd int) (int, netip.AddrPort, syscall.Errno) {
					if over.Load() {
						return acceptFD(fd)
					}
					calls.Add(1)
					return -1, netip.AddrPort{}, tt.errno
				}
				ln := listen(t, "tcp")
				r := &rig{TB: t, e: e, network: "tcp", addr: ln.Addr().String()}
				if err := e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
					s := newSession(t, nil)
					return &s.Conn, s
				}); err != nil {
					t.Fatal(err)
				}
				nc := r.dial()
				must(t, nc, "x")
				eventually(t, "it is tried again", func() bool { return e.Stats().Starved >= 4 })
				starved := e.Stats().Starved
				if n := calls.Load(); n > maxAccepts*(starved+1) {
					t.Errorf("%d calls for %d pauses", n, starved)
				}
				if n := log.n.Load(); n != 1 {
					t.Errorf("%d lines in the log", n)
				}
				over.Store(true)
				expect(t, nc, "x")
			})
		})
	}
}

// A connection that is gone before it is accepted does not keep the others waiting.
func TestAcceptSkipsGoneConnections(t *testing.T) {
	var calls atomic.Int64
	e := newEngine(t, Config{Transport: Epoll})
	e.accept = func(fd int) (int, netip.AddrPort, syscall.Errno) {
		if calls.Add(1) < maxAccepts {
			return -1, netip.AddrPort{}, unix.EPROTO
		}
		return acceptFD(fd)
	}
	ln := listen(t, "tcp")
	r := &rig{TB: t, e: e, network: "tcp", addr: ln.Addr().String()}
	if err := e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
		s := newSession(t, nil)
		return &s.Conn, s
	}); err != nil {
		t.Fatal(err)
	}
	nc := r.dial()
	must(t, nc, "x")
	expect(t, nc, "x")
	if n := e.Stats().Starved; n != 0 {
		t.Errorf("%d pauses", n)
	}
}
