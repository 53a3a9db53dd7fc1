package replay

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server/store"
)

// TestWorkersAreBounded: many logins at once are served in turn by 32 workers.
func TestWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFakeStore(time.Now)
		var now, most atomic.Int32
		db.hook = func(op string) {
			if strings.HasSuffix(op, "done") {
				now.Add(-1)
				return
			}
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Millisecond)
		}
		v := New(Config{Store: db, Logger: discard})
		v.Start()
		const logins = 2000
		for i := range logins {
			r := &receiver{svc: v, id: uint64(i), user: itoa(uint64(i)), phase: Open}
			r.phase = Opening
			v.Attach(r, Start{}, nil)
			r.phase = Open
			v.Open(r)
		}
		if s := v.Stats(); s.Sessions != logins || s.Waiting < logins-32 {
			t.Errorf("%+v", s)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if s := v.Stats(); s.Sessions != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		if n := most.Load(); n != 32 {
			t.Errorf("%d at once, want 32", n)
		}
		v.Stop()
		// Nothing begins after Stop.
		r := &receiver{svc: v, id: 1, user: "late", phase: Open}
		v.Notify(r, v.NewNotice(inboxOf("late"), 1, 0, "x"))
		v.Recheck()
		synctest.Wait()
		if n := now.Load(); n != 0 {
			t.Errorf("%d workers after Stop", n)
		}
	})
}

// TestRecovery: sessions wait for a store that fails, and Recheck is combined.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFakeStore(time.Now)
		r := &receiver{id: 1, user: "alice", kernelMax: 100, limit: 1 << 20}
		v := New(Config{Store: db, Logger: discard, Receivers: func(yield func(Receiver) bool) { yield(r) }})
		r.svc = v
		v.Start()
		defer v.Stop()
		db.append(inboxOf("alice"), "1", 0)
		db.setDown(true)
		v.Attach(r, Start{}, nil)
		r.phase = Open
		v.Open(r)
		time.Sleep(3 * time.Second)
		if s := v.Stats(); s.Waiting != 1 || s.Replayed != 0 {
			t.Errorf("%+v", s)
		}
		if n := db.calls["last"]; n > 7 {
			t.Errorf("a failing store is asked %d times in 3 s", n)
		}
		db.setDown(false)
		for range 10 {
			db.recover()
		}
		time.Sleep(storeDelay + tickInterval)
		if s := v.Stats(); s.Waiting != 0 || s.Replayed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPanicEndsOneSession: a panic while a session is served ends that session.
func TestPanicEndsOneSession(t *testing.T) {
	g := newRig(t)
	g.store.append(inboxOf("alice"), "1", 0)
	bad, good := g.receiver("alice", AckByPong), g.receiver("alice", AckByPong)
	bad.panics = true
	g.open(bad, Start{})
	g.live(bad, "held")
	g.open(good, Start{})
	g.work()
	g.want(good, true, "1")
	if bad.failed == nil || len(bad.dropped) != 1 || g.Stats().Panics != 1 || g.find(bad) != nil {
		t.Errorf("failed: %v, dropped %v, %+v", bad.failed, bad.dropped, g.Stats())
	}
	g.close(bad, 0)
}

// safeReceiver is a receiver for many goroutines.
type safeReceiver struct {
	*receiver
	phase   atomic.Uint32
	mu      sync.Mutex
	last    map[store.Box]uint64
	pings   chan string
	stored  int
	failure error
}

func (r *safeReceiver) Phase() Phase { return Phase(r.phase.Load()) }
func (r *safeReceiver) Queued() int  { return 0 }
func (r *safeReceiver) Begin(Begin)  {}
func (r *safeReceiver) EndHold()     {}
func (r *safeReceiver) Fail(err error) {
	r.mu.Lock()
	r.failure = err
	r.mu.Unlock()
}
func (r *safeReceiver) DropLive(Frame)       {}
func (r *safeReceiver) WriteLive(Frame) bool { return r.Phase() == Open }
func (r *safeReceiver) WriteStored(f Frame) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := f.(*wire).message
	if m.Offset <= r.last[m.Box] {
		r.failure = errors.New("not in order")
	}
	r.last[m.Box] = m.Offset
	r.stored++
	return r.Phase() == Open
}

func (r *safeReceiver) Ping(payload []byte) bool {
	select {
	case r.pings <- string(payload):
	default:
	}
	return r.Phase() == Open
}

// TestManyGoroutines runs everything at once, for the race detector, with a store
// that takes its time and fails now and then.
func TestManyGoroutines(t *testing.T) {
	db := newFakeStore(time.Now)
	db.hook = func(string) {
		switch rand.IntN(20) {
		case 0:
			time.Sleep(time.Microsecond * time.Duration(rand.IntN(300)))
		default:
			runtime.Gosched()
		}
	}
	var mu sync.Mutex
	live := map[*safeReceiver]bool{}
	all := func() (l []*safeReceiver) {
		mu.Lock()
		defer mu.Unlock()
		for r := range live {
			l = append(l, r)
		}
		return l
	}
	v := New(Config{Store: db, Window: 2000, Workers: 4, Logger: discard, Settle: time.Millisecond,
		Sync: func(context.Context, store.Box) error { return nil },
		Receivers: func(yield func(Receiver) bool) {
			for _, r := range all() {
				if !yield(r) {
					return
				}
			}
		}})
	v.Start()
	var ids atomic.Uint64
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var background, clients sync.WaitGroup
	publish := func(b store.Box) {
		m := db.append(b, "text", 0)
		n := v.NewNotice(b, m.Offset, m.Prev, "text")
		for _, r := range all() {
			v.Notify(r, n)
		}
	}
	for i := range 2 {
		background.Go(func() {
			for !stopped() {
				switch rand.IntN(20) {
				case 0:
					v.Recheck()
				case 1:
					db.setDown(true)
					runtime.Gosched()
					db.setDown(false)
				case 2:
					db.reopen()
				default:
					publish([]store.Box{inboxOf("alice"), topic("news")}[i])
				}
				time.Sleep(50 * time.Microsecond)
			}
		})
	}
	for range 6 {
		clients.Go(func() {
			for range 40 {
				id := ids.Add(1)
				r := &safeReceiver{receiver: &receiver{id: id, user: "alice", mode: AckMode(id % 3)}, last: map[store.Box]uint64{}, pings: make(chan string, 4)}
				mu.Lock()
				live[r] = true
				mu.Unlock()
				v.Attach(r, Start{}, []Subscription{{Topic: "news"}})
				r.phase.Store(uint32(Open))
				v.Open(r)
				for range rand.IntN(40) {
					switch rand.IntN(5) {
					case 0:
						v.Unsubscribe(r, "news", func() {})
					case 1:
						v.Subscribe(r, Subscription{Topic: "news"}, func() error {
							r.mu.Lock()
							delete(r.last, topic("news")) // it may come again
							r.mu.Unlock()
							return nil
						})
					case 2:
						v.Hold(r, &wire{size: 10})
					default:
						select {
						case payload := <-r.pings:
							v.Pong(r, []byte(payload))
						default:
							time.Sleep(20 * time.Microsecond)
						}
					}
				}
				mu.Lock()
				delete(live, r)
				mu.Unlock()
				r.phase.Store(uint32(Ended))
				v.Detach(r, 0)
				r.mu.Lock()
				if r.failure != nil {
					t.Error(r.failure)
				}
				r.mu.Unlock()
			}
		})
	}
	clients.Wait()
	close(stop)
	background.Wait()
	v.Stop()
	if s := v.Stats(); s.Sessions != 0 || s.Panics != 0 || s.Replayed == 0 {
		t.Errorf("%+v", s)
	}
}

// TestApplyEndsTheWork: when an answer makes the session wait or ends it, the worker
// must leave, as another one may take the session at once.
func TestApplyEndsTheWork(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer answer
		end    bool
		goesOn bool
	}{
		{"located", answer{place: place{epoch: "e1"}}, false, true},
		{"failed", answer{err: store.ErrUnavailable}, false, false},
		{"ended", answer{place: place{epoch: "e1"}}, true, false},
	} {
		g := newRig(t)
		r := g.receiver("alice", AckExplicit)
		g.open(r, Start{})
		s := g.next(false)
		s.take()
		j := s.plan()
		if test.end {
			g.close(r, 0)
		}
		if got := s.apply(j, test.answer); got != test.goesOn {
			t.Errorf("%s: goes on %v", test.name, got)
		}
	}
}
