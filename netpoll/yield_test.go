package netpoll

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sip returns a data function that takes a few bytes at a time, and postpones
// the others if it can.
func sip(take func(s *session, b []byte)) func(s *session, b []byte) {
	var n atomic.Int32
	return func(s *session, b []byte) {
		for {
			k := min(1+int(n.Add(1)%7), len(b))
			take(s, b[:k])
			if b = b[k:]; len(b) == 0 || s.Postpone(b) {
				return
			}
		}
	}
}

// What is postponed comes again, in its order and before what came later.
func TestPostpone(t *testing.T) {
	everywhere(t, func(t *testing.T, kind Kind, network string) {
		echo := sip(func(s *session, b []byte) { s.WriteBorrowed(b, CloseOnFull) })
		r := newRig(t, Config{Transport: kind, QueueBytes: 1 << 20, ReadBuffer: 1 << 10}, network, echo)
		var all sync.WaitGroup
		for range 4 {
			nc := r.dial()
			all.Go(func() {
				out := make([]byte, 16<<10)
				for i := range out {
					out[i] = byte(i % 251)
				}
				go nc.Write(out)
				in := make([]byte, len(out))
				for n := 0; n < len(in); {
					k, err := nc.Read(in[n:])
					if err != nil {
						t.Errorf("behind %d bytes: %v", n, err)
						return
					}
					n += k
				}
				if !bytes.Equal(in, out) {
					t.Error("the bytes came in another order")
				}
			})
		}
		all.Wait()
	})
}

// The bytes that Adopt brings can be postponed as well, if a buffer takes them.
func TestPostponePending(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		for _, n := range []int{1 << 10, 1<<10 + 2} {
			e := newEngine(t, Config{Transport: kind, ReadBuffer: 1 << 10})
			_, server := accepted(t, "tcp")
			pending := bytes.Repeat([]byte("p"), n)
			var got []byte
			whole := make(chan struct{})
			s := newSession(t, func(s *session, b []byte) {
				got = append(got, b[0])
				if len(got) == 1 {
					if could := s.Postpone(b[1:]); could != (n-1 <= 1<<10) {
						t.Errorf("Postpone of %d bytes = %v", n-1, could)
					} else if could {
						return
					}
				}
				if got = append(got, b[1:]...); len(got) == n {
					close(whole)
				}
			})
			if err := e.Adopt(server, &s.Conn, s, pending); err != nil {
				t.Fatal(err)
			}
			await(t, whole)
			if !bytes.Equal(got, pending) || e.rests.n.Load() != 0 {
				t.Errorf("got %d bytes, %d rests are kept", len(got), e.rests.n.Load())
			}
		}
	})
}

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
			s := newSession(t, func(s *session, b []byte) {
				if len(b) == left && left < bytesEach {
					turns++
				}
				if left--; len(b) > 1 && !s.Postpone(b[1:]) {
					t.Error("Postpone = false")
				}
				if left == 0 {
					over.Done()
				}
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

// A connection may end while its bytes are postponed. They go with it.
func TestPostponedAndClosed(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		r := newRig(t, Config{Transport: kind}, "tcp", func(s *session, b []byte) { s.Postpone(b) })
		var open []*session
		for range 20 {
			_, s := r.connect()
			open = append(open, s)
		}
		eventually(t, "all are kept", func() bool { return r.e.rests.n.Load() == 20 })
		for _, s := range open {
			s.Conn.Close()
			wantClosed(t, s, net.ErrClosed)
		}
		if n := r.e.rests.n.Load(); n != 0 {
			t.Errorf("%d rests are kept", n)
		}
	})
}

// The memory for postponed bytes is bounded, and reads are small when it is used
// up.
func TestPostponedAreBounded(t *testing.T) {
	pollers(t, func(t *testing.T, kind Kind) {
		var free atomic.Bool
		var refused, large atomic.Int32
		r := newRig(t, Config{Transport: kind}, "tcp", func(s *session, b []byte) {
			if len(b) > scarceRead {
				large.Add(1)
			}
			if !free.Load() && !s.Postpone(b) {
				refused.Add(1)
			}
		})
		const busy = 8
		var others [postponed - busy]Conn
		for i := range others {
			if !r.e.rests.keep(&others[i], []byte("x")) {
				t.Fatal("keep = false")
			}
			defer r.e.rests.drop(&others[i])
		}
		for range busy {
			r.connect()
		}
		eventually(t, "all are kept", func() bool { return r.e.rests.n.Load() == postponed })
		nc, _ := r.connect()
		must(t, nc, string(make([]byte, 4*scarceRead)))
		eventually(t, "no more are kept", func() bool { return refused.Load() >= 4 })
		free.Store(true)
		eventually(t, "all are served", func() bool { return r.e.rests.n.Load() == postponed-busy })
		if n := large.Load(); n != 0 {
			t.Errorf("%d large reads", n)
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
