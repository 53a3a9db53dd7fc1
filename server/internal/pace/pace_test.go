package pace

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// receivers are numbered sessions, each of which notes when it was reached.
type receivers struct {
	mu      sync.Mutex
	at      []time.Duration // of each that was reached, in order
	left    int
	rejects int // of those that follow, as many do not accept
	now     func() time.Duration
}

func (r *receivers) next(n int) (reached, accepted int, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; reached < n && r.left > 0; reached++ {
		r.left--
		r.at = append(r.at, r.now())
		if r.rejects > 0 {
			r.rejects--
			continue
		}
		accepted++
	}
	return reached, accepted, r.left > 0
}

func (r *receivers) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at)
}

// newTable returns a Table in a bubble, with the time since now as its clock.
func newTable() (*Table, *sync.WaitGroup) {
	begun := time.Now()
	var running sync.WaitGroup
	return NewTable(Config{Now: func() time.Duration { return time.Since(begun) }, Go: running.Go}), &running
}

func (t *Table) start(tb testing.TB, id, key string, over time.Duration, n int) (*Job, *receivers) {
	tb.Helper()
	r := &receivers{left: n, now: t.cfg.Now}
	j, err := t.Start(Spec{ID: id, Key: key, Over: over, Of: n, Next: r.next})
	if err != nil {
		tb.Fatal(err)
	}
	return j, r
}

// Every slice has the same number of deliveries, give or take one.
func TestEven(t *testing.T) {
	for _, test := range []struct {
		over time.Duration
		n    int
	}{
		{10 * time.Second, 10_000}, {10 * time.Second, 7}, {time.Hour, 1000}, {100 * time.Millisecond, 100_000}, {time.Second, 1},
	} {
		t.Run(fmt.Sprint(test.n, " over ", test.over), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, running := newTable()
				j, r := table.start(t, "1", "", test.over, test.n)
				running.Wait()
				if p := j.Progress(); p.State != Done || p.Receivers != test.n || p.Ended != test.over {
					t.Fatalf("ended as %+v", p)
				}
				slices := make(map[time.Duration]int)
				for _, at := range r.at {
					if at%Slice != 0 || at > test.over {
						t.Fatalf("a delivery at %v", at)
					}
					slices[at]++
				}
				each := float64(test.n) * float64(Slice) / float64(test.over)
				for at := Slice; at <= test.over; at += Slice {
					if n := float64(slices[at]); n < each-1 || n > each+1 {
						t.Fatalf("%v deliveries at %v, want %.1f", n, at, each)
					}
				}
				if slices[0] != 0 {
					t.Errorf("%d deliveries at once", slices[0])
				}
			})
		})
	}
}

// Receivers that leave end the job early, and those that come on top are served at its end.
func TestOtherNumberOfReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, running := newTable()
		few := &receivers{left: 500, rejects: 100, now: table.cfg.Now}
		many := &receivers{left: 1500, now: table.cfg.Now}
		a, _ := table.Start(Spec{ID: "1", Over: 10 * time.Second, Of: 1000, Next: few.next})
		b, _ := table.Start(Spec{ID: "2", Over: 10 * time.Second, Of: 1000, Next: many.next})
		running.Wait()
		if p := a.Progress(); p.State != Done || p.Receivers != 400 || p.Ended != 5*time.Second {
			t.Errorf("few receivers: %+v", p)
		}
		if p := b.Progress(); p.State != Done || p.Receivers != 1500 || p.Ended != 10*time.Second {
			t.Errorf("many receivers: %+v", p)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, running := newTable()
		j, r := table.start(t, "1", "", 10*time.Second, 1000)
		time.Sleep(3*time.Second + time.Millisecond)
		if table.Cancel("2") != nil || table.Cancel("1") != j {
			t.Error("Cancel returns another job")
		}
		running.Wait()
		if p := j.Progress(); p.State != Canceled || p.Receivers != 300 || r.count() != 300 || p.Ended != 3*time.Second+time.Millisecond {
			t.Errorf("ended as %+v with %d deliveries", p, r.count())
		}
		table.Cancel("1")
		if p := j.Progress(); p.Ended != 3*time.Second+time.Millisecond {
			t.Errorf("a second Cancel changes it to %+v", p)
		}
	})
}

// The greater ID wins, in whatever order the jobs are started.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, running := newTable()
		a, ra := table.start(t, "2", "k", 10*time.Second, 1000)
		other, _ := table.start(t, "9", "another", 10*time.Second, 1000)
		none, _ := table.start(t, "8", "", 10*time.Second, 1000)
		time.Sleep(4*time.Second + time.Millisecond)
		b, rb := table.start(t, "3", "k", 10*time.Second, 1000)
		late, rl := table.start(t, "1", "k", 10*time.Second, 1000)
		running.Wait()
		for _, test := range []struct {
			name string
			j    *Job
			r    *receivers
			want Progress
		}{
			{"replaced", a, ra, Progress{Replaced, 400, 4*time.Second + time.Millisecond}},
			{"late", late, rl, Progress{Replaced, 0, 4*time.Second + time.Millisecond}},
			{"winner", b, rb, Progress{Done, 1000, 14*time.Second + time.Millisecond}},
		} {
			if p := test.j.Progress(); p.State != test.want.State || p.Receivers != test.want.Receivers || test.r.count() != p.Receivers {
				t.Errorf("%s: %+v, %d deliveries, want %+v", test.name, p, test.r.count(), test.want)
			}
		}
		if other.Progress().State != Done || none.Progress().State != Done {
			t.Error("a job with another key was replaced")
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, running := newTable()
		j, r := table.start(t, "1", "", 10*time.Second, 1000)
		time.Sleep(time.Second)
		synctest.Wait()
		table.Stop()
		running.Wait()
		if p := j.Progress(); p.State != Stopped || p.Receivers != 100 || r.count() != 100 {
			t.Errorf("ended as %+v", p)
		}
		if _, err := table.Start(Spec{ID: "2", Over: time.Second}); !errors.Is(err, ErrStopped) {
			t.Errorf("Start after Stop: %v", err)
		}
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, running := newTable()
		for i := range MaxRunning {
			table.start(t, fmt.Sprintf("a%03d", i), fmt.Sprint(i), time.Hour, 1)
		}
		if _, err := table.Start(Spec{ID: "b", Over: time.Second}); !errors.Is(err, ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		if _, err := table.Start(Spec{ID: "a000", Over: time.Second}); !errors.Is(err, ErrExists) {
			t.Errorf("the same ID: %v", err)
		}
		for i := range 3 * maxEnded { // each replaces the one before
			table.start(t, fmt.Sprintf("c%03d", i), "0", time.Hour, 1)
		}
		if n := len(table.List()); n > MaxRunning+maxEnded {
			t.Errorf("%d jobs are listed", n)
		}
		still := 0
		for _, j := range table.List() {
			if j.Progress().State == Running {
				still++
			}
		}
		if still != MaxRunning {
			t.Errorf("%d jobs are under way, want %d", still, MaxRunning)
		}
		table.Stop()
		running.Wait()
	})
}
