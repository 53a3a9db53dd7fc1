package netpoll

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gate is a handler that blocks on what starts with a 'b' until it is opened,
// and echoes the rest.
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

// pollers runs a test on the transports that have workers.
func pollers(t *testing.T, f func(t *testing.T, kind Kind)) {
	for _, kind := range kinds {
		if kind != Goroutine {
			t.Run(kind.String(), func(t *testing.T) { f(t, kind) })
		}
	}
}

func TestBlockedHandlers(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		const n = 300
		g := newGate()
		r := newRig(t, Config{Transport: kind}, "tcp", g.data)
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

// Handlers that block for less than a tick, as one that asks a database does,
// must not queue up behind one another either.
func TestBrieflyBlockedHandlers(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		var inside, peak atomic.Int32
		r := newRig(t, Config{Transport: kind}, "tcp", func(s *session, b []byte) {
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
	pollers(t, func(t *testing.T, kind Kind) {
		for _, workers := range []int{1, 3} {
			g := newGate()
			r := newRig(t, Config{Transport: kind, Workers: workers}, "tcp", g.data)
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
			for _, nc := range all { // nobody is forgotten
				expect(t, nc, "b")
			}
			if peak := g.peak.Load(); peak > int32(workers) {
				t.Errorf("%d handlers at a time, the bound is %d", peak, workers)
			}
		}
	})
}

// A batch that takes long for want of one core calls a second worker, but never
// more than Workers.
func TestBehindRespectsTheBound(t *testing.T) {
	e := &Engine{maxWorkers: 1, start: time.Now().Add(-time.Second)}
	e.workers.Store(1)
	e.batch.publish(batchSize)
	if e.checkBehind(); e.stats.behind.Load() != 0 || e.workers.Load() != 1 {
		t.Errorf("%d workers, the bound is 1", e.workers.Load())
	}
}

// A load that one core carries stays on one goroutine.
func TestOneWorkerCarriesALightLoad(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		r := newRig(t, Config{Transport: kind}, "tcp", nil)
		all := make([]net.Conn, 100)
		if raceEnabled {
			all = all[:20] // each takes ten times as long
		}
		for i := range all {
			all[i], _ = r.connect()
		}
		// The machine may take the core away from us for a while, and then a
		// second worker is right. It will not do so always.
		var before, after Stats
		for range 20 {
			eventually(t, "one worker", func() bool { return r.e.Stats().Workers == 1 })
			before = r.e.Stats()
			for range 20 {
				for _, nc := range all {
					must(t, nc, "lockstep")
				}
				for _, nc := range all {
					expect(t, nc, "lockstep")
				}
			}
			after = r.e.Stats()
			if after.Behind == before.Behind && after.Blocked == before.Blocked && after.Workers == 1 {
				return
			}
		}
		t.Errorf("20 rounds needed %d more workers, and %d more for blocked ones", after.Behind-before.Behind, after.Blocked-before.Blocked)
	})
}

// An idle engine has no goroutine that wakes up now and then.
func TestIdleEngineSleeps(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		g := newGate()
		r := newRig(t, Config{Transport: kind}, "tcp", g.data)
		nc, _ := r.connect()
		expect(t, nc, "x")
		idle := func() bool { return r.e.watch.parked.Load() && r.e.asleep.Load() && r.e.Stats().Workers == 1 }
		eventually(t, "the monitor sleeps", idle)
		// And it is there when it is needed.
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

// nothing is a Poller that never has an event.
type nothing struct{}

func (nothing) Add(int, uint32) error           { return nil }
func (nothing) Remove(int, bool) error          { return nil }
func (nothing) Wait([]Event, bool) (int, error) { return 0, nil }
func (nothing) Wake()                           {}
func (nothing) Close() error                    { return nil }

// The monitor goes to sleep when it sees the harvester asleep; one that finds
// something to do at the last moment must wake it all the same.
func TestHarvesterWakesTheMonitor(t *testing.T) {
	for _, injected := range []int{0, 1, batchSize} {
		e := &Engine{poller: nothing{}, injected: make([]*Conn, injected), events: make([]Event, batchSize)}
		e.watch.init()
		e.watch.parked.Store(true)
		if !e.harvest() {
			t.Fatal("the engine is not closed")
		}
		if e.asleep.Load() || e.watch.parked.Load() || len(e.watch.wakeup) != 1 {
			t.Errorf("%d injected: asleep %v, the monitor parked %v", injected, e.asleep.Load(), e.watch.parked.Load())
		}
		if want := min(injected, batchSize/2); e.batch.left() != want || len(e.injected) != injected-want {
			t.Errorf("%d injected: a batch of %d, %d left", injected, e.batch.left(), len(e.injected))
		}
	}
}

// Many connections, several workers: each gets its own bytes, in their order.
func TestManyWorkers(t *testing.T) {
	everywhere(t, func(t *testing.T, kind Kind, network string) {
		r := newRig(t, Config{Transport: kind}, network, func(s *session, b []byte) {
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
