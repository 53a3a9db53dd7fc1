package netpoll

import (
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gate is a handler that blocks when its input starts with 'b', until open is closed, and
// then echoes.
type gate struct {
	open   chan struct{}
	inside atomic.Int32
	peak   atomic.Int32
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) data(s *session, b []byte) {
	if b[0] == 'b' {
		n := g.inside.Add(1)
		for peak := g.peak.Load(); n > peak && !g.peak.CompareAndSwap(peak, n); peak = g.peak.Load() {
		}
		<-g.open
		g.inside.Add(-1)
	}
	s.WriteBorrowed(b, CloseOnFull)
}

// pollers runs a test for each transport that has a poller.
func pollers(t *testing.T, f func(t *testing.T, transport Transport)) {
	for _, transport := range transports {
		if transport != Goroutine {
			t.Run(transport.String(), func(t *testing.T) { f(t, transport) })
		}
	}
}

func TestBlockedHandlers(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		const n = 300
		g := newGate()
		r := newRig(t, Config{Transport: transport}, "tcp", g.data)
		blocked := make([]net.Conn, n)
		for i := range blocked {
			blocked[i], _ = r.connect()
			expect(t, blocked[i], "x")
		}
		free, _ := r.connect()
		expect(t, free, "x")
		for _, nc := range blocked {
			must(t, nc, "b")
		}
		eventually(t, "all of them block", func() bool { return g.inside.Load() == n })
		for range 100 { // and the others go on
			must(t, free, "free")
			expect(t, free, "free")
		}
		if s := r.e.Stats(); s.Workers <= n || s.Blocked == 0 || s.Saturated != 0 {
			t.Errorf("%+v", s)
		}
		close(g.open)
		for _, nc := range blocked {
			expect(t, nc, "b")
		}
		eventually(t, "the pool shrinks to one", func() bool { return r.e.Stats().Workers == 1 })
	})
}

// Workers that were started and have not run yet serve the connections that wait: a machine
// without a free processor must not fill the pool.
func TestStartingWorkersCount(t *testing.T) {
	for _, tt := range []struct {
		running, starting int32
		left, want        int
	}{
		{256, 0, 255, 256},
		{256, 100, 255, 156},
		{256, 256, 255, 0},
		{256, 255, 255, 1}, // to poll when the others block, too
		{1, 0, 255, 1},
		{301, 1, 0, 0},
		{301, 0, 0, 1},
	} {
		e := &Engine{maxWorkers: 1024}
		e.workers.Store(tt.running)
		e.starting.Store(tt.starting)
		e.batch.publish(tt.left)
		if got := e.missingWorkers(); got != int32(tt.want) {
			t.Errorf("%d workers, %d of them starting, %d connections wait: %d more, want %d", tt.running, tt.starting, tt.left, got, tt.want)
		}
	}
}

// Handlers that block for less than a tick, as for a database query, do not wait for one
// another either.
func TestBrieflyBlockedHandlers(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		var inside, peak atomic.Int32
		r := newRig(t, Config{Transport: transport}, "tcp", func(s *session, b []byte) {
			if b[0] == 'b' {
				n := inside.Add(1)
				for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
				}
				time.Sleep(time.Millisecond) // stands for a query
				inside.Add(-1)
			}
			s.WriteBorrowed(b, CloseOnFull)
		})
		all := make([]net.Conn, 200)
		for i := range all {
			all[i], _ = r.connect()
			expect(t, all[i], "x")
		}
		for range 2 {
			for _, nc := range all {
				must(t, nc, "b")
			}
			for _, nc := range all {
				expect(t, nc, "b")
			}
		}
		if want := int32(4 * runtime.GOMAXPROCS(0)); peak.Load() < want {
			t.Errorf("at most %d handlers ran at a time, want %d and more", peak.Load(), want)
		}
	})
}

func TestWorkersAreBounded(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		for _, workers := range []int{1, 3} {
			g := newGate()
			r := newRig(t, Config{Transport: transport, Workers: workers}, "tcp", g.data)
			all := make([]net.Conn, 20)
			for i := range all {
				all[i], _ = r.connect()
				expect(t, all[i], "x")
			}
			for _, nc := range all {
				must(t, nc, "b")
			}
			eventually(t, "the bound is reached", func() bool { return g.inside.Load() == int32(workers) })
			eventually(t, "that is counted", func() bool { return r.e.Stats().Saturated > 2 })
			close(g.open)
			for _, nc := range all { // none is forgotten
				expect(t, nc, "b")
			}
			if peak := g.peak.Load(); peak > int32(workers) {
				t.Errorf("%d handlers at a time, the bound is %d", peak, workers)
			}
		}
	})
}

// newClocked returns a rig whose engine has this clock, in nanoseconds, and no monitor, which depends on real time.
func newClocked(t *testing.T, transport Transport, clock *atomic.Int64, data func(*session, []byte)) *rig {
	cfg := Config{Transport: transport, Logger: slog.New(slog.DiscardHandler)}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	poller, err := newPoller(transport)
	if err != nil {
		t.Fatal(err)
	}
	e := start(cfg, nil)
	e.clock = func() time.Duration { return time.Duration(clock.Load()) }
	e.poller = poller
	e.monitorSleep.init()
	e.spawn(1)
	// Over Unix sockets the engine can read what was written as soon as the write has returned.
	return newRigOn(t, e, "unix", func() *session { return newSession(t, data) })
}

// A load that one core carries stays on one goroutine, and one that overruns the budget of a batch does not, except on
// one core.
func TestOverrun(t *testing.T) {
	const turn = batchBudget / 20 // a batch of 100 overruns the budget
	for _, tt := range []struct {
		name    string
		cores   int
		ready   int           // connections
		turn    time.Duration // by the engine's clock
		workers bool          // whether a further one is started
	}{
		{"no time passes", 2, 100, 0, false},
		{"within the budget", 2, 100, batchBudget / 200, false},
		{"beyond the budget", 2, 100, turn, true},
		{"one core", 1, 100, turn, false},
		{"too few connections", 2, minBacklog, batchBudget, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pollers(t, func(t *testing.T, transport Transport) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(tt.cores))
				inside, open := make(chan struct{}), make(chan struct{})
				var working atomic.Bool
				var clock atomic.Int64
				r := newClocked(t, transport, &clock, func(s *session, b []byte) {
					switch {
					case b[0] == 'b':
						inside <- struct{}{}
						<-open
					case working.Load():
						clock.Add(int64(tt.turn))
					}
					s.WriteBorrowed(b, CloseOnFull)
				})
				first, _ := r.connect()
				expect(t, first, "x")
				all := make([]net.Conn, tt.ready)
				for i := range all {
					all[i], _ = r.connect()
					expect(t, all[i], "x")
				}
				working.Store(true)
				for range 3 {
					eventually(t, "one worker", func() bool { return r.e.Stats().Workers == 1 })
					// All connections are ready when the only worker polls next.
					must(t, first, "b")
					<-inside
					for _, nc := range all {
						must(t, nc, "lockstep")
					}
					open <- struct{}{}
					expect(t, first, "b")
					for _, nc := range all {
						expect(t, nc, "lockstep")
					}
				}
				if n := r.e.Stats().Overrun; (n > 0) != tt.workers {
					t.Errorf("%d more workers", n)
				}
			})
		})
	}
}

// An idle engine has no goroutine that wakes up periodically.
func TestIdleEngineSleeps(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		g := newGate()
		r := newRig(t, Config{Transport: transport}, "tcp", g.data)
		nc, _ := r.connect()
		expect(t, nc, "x")
		idle := func() bool { return r.e.monitorSleep.parked.Load() && r.e.asleep.Load() && r.e.Stats().Workers == 1 }
		eventually(t, "the monitor sleeps", idle)
		// It wakes up when it is needed.
		other, _ := r.connect()
		expect(t, other, "x")
		must(t, nc, "b")
		eventually(t, "the handler blocks", func() bool { return g.inside.Load() == 1 })
		must(t, other, "other")
		expect(t, other, "other")
		close(g.open)
		expect(t, nc, "b")
	})
}

// nothing is a Poller without events.
type nothing struct{}

func (nothing) Add(int, uint32) error           { return nil }
func (nothing) Remove(int, bool) error          { return nil }
func (nothing) Wait([]Event, bool) (int, error) { return 0, nil }
func (nothing) Wake()                           {}
func (nothing) Close() error                    { return nil }

// The monitor goes to sleep when it sees the harvester asleep. A harvester that finds
// work at the last moment must wake it all the same.
func TestHarvesterWakesTheMonitor(t *testing.T) {
	for _, injected := range []int{0, 1, batchSize} {
		e := &Engine{clock: func() time.Duration { return 0 }, poller: nothing{}, injected: make([]*Conn, injected), events: make([]Event, batchSize)}
		e.monitorSleep.init()
		e.monitorSleep.parked.Store(true)
		if !e.harvest() {
			t.Fatal("the engine is not closed")
		}
		if e.asleep.Load() || e.monitorSleep.parked.Load() || len(e.monitorSleep.wakeup) != 1 {
			t.Errorf("%d injected: asleep %v, the monitor parked %v", injected, e.asleep.Load(), e.monitorSleep.parked.Load())
		}
		if want := min(injected, batchSize/2); e.batch.left() != want || len(e.injected) != injected-want {
			t.Errorf("%d injected: a batch of %d, %d left", injected, e.batch.left(), len(e.injected))
		}
	}
}

// With many connections and several workers, each connection gets its own bytes in order.
func TestManyWorkers(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			if b[0]%7 == 0 {
				runtime.Gosched()
			}
			s.WriteBorrowed(b, CloseOnFull)
		})
		var wg sync.WaitGroup
		for i := range 64 {
			nc := r.dial()
			wg.Go(func() {
				for j := range 50 {
					text := string([]byte{byte(i), byte(j), 'x'})
					if _, err := nc.Write([]byte(text)); err != nil {
						t.Error(err)
						return
					}
					got := make([]byte, 3)
					if _, err := nc.Read(got); err != nil || string(got) != text {
						t.Errorf("read %q, %v, want %q", got, err, text)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}
