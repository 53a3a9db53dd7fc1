package netpoll

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a poller that tells when it is asked.
type counted struct {
	Poller
	asked func()
}

func (p counted) Wait(dst []Event, block bool) (int, error) {
	p.asked()
	return p.Poller.Wait(dst, block)
}

// However many yield, the poller is asked before each of them, so that others
// wait for one.
func TestYieldedComeOneAtATime(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		poller, err := newPoller(kind)
		if err != nil {
			t.Fatal(err)
		}
		const heavies, bytesEach = 20, 500
		var turns, worst int // owned by the only worker
		cfg := Config{Transport: kind, Workers: 1}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		e := start(cfg, counted{poller, func() { worst, turns = max(worst, turns), 0 }})
		var over sync.WaitGroup
		over.Add(heavies)
		for range heavies {
			client, server := accepted(t, "tcp")
			must(t, client, string(make([]byte, bytesEach)))
			left := bytesEach
			s := consumer(t, func(s *session, b []byte) int {
				if len(b) == left && left < bytesEach {
					turns++
				}
				if left--; left == 0 {
					over.Done()
				}
				return 1
			})
			if err := e.Adopt(server, &s.Conn, s, nil); err != nil {
				t.Fatal(err)
			}
		}
		over.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if worst != 1 {
			t.Errorf("%d connections that had yielded were served between two looks at the poller", worst)
		}
	})
}

func TestYields(t *testing.T) {
	var y yields
	now := func() time.Duration { return time.Second }
	if y.take() != nil {
		t.Error("something is in an empty list")
	}
	conns := make([]Conn, 100)
	next := 0
	for i := range conns {
		y.put(&conns[i], now)
		if i%3 == 2 {
			if c := y.take(); c != &conns[next] {
				t.Fatalf("the %d. is not the one that waits longest", next)
			}
			next++
		}
	}
	if got := y.waited(3 * time.Second); got != 2*time.Second {
		t.Errorf("waited %v", got)
	}
	for ; next < len(conns); next++ {
		if c := y.take(); c != &conns[next] {
			t.Fatalf("the %d. is not the one that waits longest", next)
		}
	}
	if y.take() != nil || y.waited(3*time.Second) != 0 {
		t.Error("something is left")
	}
	if n := testing.AllocsPerRun(1000, func() {
		y.put(&conns[0], now)
		y.put(&conns[1], now)
		y.take()
		y.take()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBreathe counts how often a worker that is never done lets others run.
func TestBreathe(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int32         // of two cores
		busy    time.Duration // with batches of 50 µs each
		want    int
	}{
		{"not long enough", 1, breathEvery, 0},
		{"once it is worthwhile", 1, breathEvery + 100*time.Microsecond, 1},
		{"not again soon", 1, breathAlone, 1},
		{"again", 1, 2*breathAlone + 2*breathEvery, 3},
		{"all cores are taken", 2, 10 * breathEvery, 1 + 8}, // at once, then behind five batches
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
				e := &Engine{maxWorkers: 2, start: time.Now()}
				e.workers.Store(tt.workers)
				breaths := 0
				batch := func(wait time.Duration) {
					asked := e.now()
					time.Sleep(wait)
					e.harvested(asked, e.now())
					before := e.breath.Load()
					if e.breathe(); e.breath.Load() != before {
						breaths++
					}
					time.Sleep(50 * time.Microsecond)
				}
				// Whatever was before, it sleeps, and its time begins anew.
				for range 2 {
					breaths = 0
					batch(time.Second)
					if breaths > 0 && tt.workers == 1 {
						t.Error("a breath at once")
					}
					for began := e.now(); e.now()-began < tt.busy; {
						batch(0)
					}
				}
				if breaths != tt.want {
					t.Errorf("%d breaths, want %d", breaths, tt.want)
				}
			})
		})
	}
}
