package netpoll

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a Poller that calls asked for each Wait.
type counted struct {
	Poller
	asked func()
}

func (p counted) Wait(dst []Event, block bool) (int, error) {
	p.asked()
	return p.Poller.Wait(dst, block)
}

// However many connections yield, the engine polls before each of them, so that others
// wait for one.
func TestYieldedAreServedOneAtATime(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		poller, err := newPoller(transport)
		if err != nil {
			t.Fatal(err)
		}
		const heavies, bytesEach = 20, 500
		var turns, worst int // owned by the only worker
		cfg := Config{Transport: transport, Workers: 1}
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
			t.Errorf("%d connections that had yielded were served between two polls", worst)
		}
	})
}

func TestYieldQueue(t *testing.T) {
	var y yieldQueue
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
				t.Fatalf("number %d is not the oldest", next)
			}
			next++
		}
	}
	if got := y.longestWait(3 * time.Second); got != 2*time.Second {
		t.Errorf("waited %v", got)
	}
	for ; next < len(conns); next++ {
		if c := y.take(); c != &conns[next] {
			t.Fatalf("the %d. is not the oldest", next)
		}
	}
	if y.take() != nil || y.longestWait(3*time.Second) != 0 {
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

// A worker that always has work calls Gosched from time to time.
func TestGosched(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int32         // of two cores
		busy    time.Duration // with batches of 50 µs each
		want    int
	}{
		{"less than goschedBusy", 1, goschedBusy, 0},
		{"once after goschedBusy", 1, goschedBusy + 100*time.Microsecond, 1},
		{"not again soon", 1, goschedIdle, 1},
		{"again", 1, 2*goschedIdle + 2*goschedBusy, 3},
		{"all cores are taken", 2, 10 * goschedBusy, 1 + 8}, // at once, then after five batches each
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
				start := time.Now()
				e := &Engine{maxWorkers: 2, clock: func() time.Duration { return time.Since(start) }}
				e.workers.Store(tt.workers)
				calls := 0
				batch := func(wait time.Duration) {
					asked := e.now()
					time.Sleep(wait)
					e.noteHarvest(asked, e.now())
					before := e.lastGosched.Load()
					if e.goschedIfDue(); e.lastGosched.Load() != before {
						calls++
					}
					time.Sleep(50 * time.Microsecond)
				}
				// The worker sleeps in any case, and its time begins anew.
				for range 2 {
					calls = 0
					batch(time.Second)
					if calls > 0 && tt.workers == 1 {
						t.Error("Gosched at once")
					}
					for began := e.now(); e.now()-began < tt.busy; {
						batch(0)
					}
				}
				if calls != tt.want {
					t.Errorf("%d calls, want %d", calls, tt.want)
				}
			})
		})
	}
}
