package netpoll

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// Close waits for a handler that blocks, however long its peer goes on sending, and
// returns when it does.
func TestCloseWaitsForBlockedHandler(t *testing.T) {
	if testing.Short() {
		t.Skip("the monitor goes to sleep after a second, three times")
	}
	pollers(t, func(t *testing.T, transport Transport) {
		t.Parallel()
		inside, release := make(chan struct{}), make(chan struct{})
		var first atomic.Bool
		r := newRig(t, Config{Transport: transport}, "unix", func(*session, []byte) {
			if !first.Swap(true) {
				close(inside)
				<-release
			}
		})
		nc := r.dial()
		must(t, nc, "x")
		await(t, inside)
		closed := make(chan error, 1)
		go func() { closed <- r.e.Close() }()
		eventually(t, "the engine closes", r.e.closing.Load)
		for range 4 {
			time.Sleep(idleTicks * monitorTick * 5 / 4) // the harvester sleeps, and the monitor would like to
			must(t, nc, "y")
		}
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v while a handler runs", err)
		default:
		}
		close(release)
		if err := await(t, closed); err != nil {
			t.Error(err)
		}
	})
}

// The harvester wakes the monitor without waiting for it, though it may have gone.
func TestWakeMonitorThatHasGone(t *testing.T) {
	var w monitorSleep
	var asleep atomic.Bool
	w.init()
	w.stop()
	asleep.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			w.park(&asleep)
			w.parked.Store(true) // as between the first steps of park
			w.wake()
		}
	}()
	await(t, done)
}

// fullPoller is a Poller that cannot watch anything more, as when max_user_watches of
// epoll(7) is reached.
type fullPoller struct{ Poller }

var errFull = errors.New("no more watches")

func (fullPoller) Add(int, uint32) error { return errFull }

// An Adopt that fails leaves the net.Conn as it was, so that the client gets an answer.
func TestFailedAdoptCanAnswer(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		for _, closing := range []bool{false, true} {
			poller, err := newPoller(transport)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Transport: transport}
			if err := cfg.validate(); err != nil {
				t.Fatal(err)
			}
			e := start(cfg, fullPoller{poller})
			client, server := accepted(t, "tcp")
			before := openDescriptors()
			want := errFull
			if closing {
				e.Close()
				before = openDescriptors()
				want = net.ErrClosed
			}
			s := newSession(t, nil)
			if err := e.Adopt(server, &s.Conn, s, []byte("pending")); !errors.Is(err, want) {
				t.Errorf("Adopt: %v, want %v", err, want)
			}
			if after := openDescriptors(); after != before {
				t.Errorf("%d descriptors more than before", after-before)
			}
			if s.ready.Load() || s.ended.Load() || e.Opened() != 0 {
				t.Error("the handler was called")
			}
			must(t, server, "sorry")
			must(t, client, "why")
			expect(t, server, "why")
			server.Close()
			expect(t, client, "sorry")
			expectEOF(t, client)
			e.Close()
		}
	})
}
