package conflate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unique"

	"fanfare/netpoll"
)

const tick = 100 * time.Millisecond

// session notes what it receives.
type session struct {
	id     uint64
	got    []string
	closed bool
	next   netpoll.Outcome // of the next write that is not delivered; 0: all are
	failed []netpoll.Outcome
}

func newTable(budget int) *Table[*session, string] {
	return NewTable(Config[*session, string]{
		Write: func(s *session, m string) netpoll.Outcome {
			if o := s.next; o != 0 {
				s.next = 0
				return o
			}
			s.got = append(s.got, m)
			return netpoll.Written
		},
		Failed: func(s *session, o netpoll.Outcome) { s.failed = append(s.failed, o) },
		Open:   func(s *session) bool { return !s.closed },
		Hash:   func(s *session) uint64 { return s.id },
		Size:   func(m string) int { return len(m) },
		Budget: budget,
	}, tick, 8)
}

// offer offers a message whose name is what precedes "=".
func (t *Table[S, M]) offer(s S, m M, interval, now time.Duration) netpoll.Outcome {
	name, _, _ := strings.Cut(fmt.Sprint(m), "=")
	return t.Offer(s, unique.Make(name), m, interval, now)
}

func (s *session) wantGot(tb testing.TB, want ...string) {
	tb.Helper()
	if !slices.Equal(s.got, want) {
		tb.Errorf("got %q, want %q", s.got, want)
	}
	s.got = nil
}

func TestNewestAtItsTime(t *testing.T) {
	table, s := newTable(1<<20), &session{id: 1}
	const half = 500 * time.Millisecond
	now := 40 * time.Millisecond
	if o := table.offer(s, "a=1", half, now); o != netpoll.Written {
		t.Errorf("outcome %v", o)
	}
	for i := 2; i < 10; i++ {
		now += 40 * time.Millisecond
		if o := table.offer(s, fmt.Sprint("a=", i), half, now); o != netpoll.Queued {
			t.Errorf("outcome %v", o)
		}
	}
	table.Step(500 * time.Millisecond)
	s.wantGot(t, "a=1")
	if st := table.Stats(); st != (Stats{Waiting: 1, Replaced: 7}) {
		t.Errorf("%+v", st)
	}
	table.Step(600 * time.Millisecond) // due at 540
	s.wantGot(t, "a=9")
	table.offer(s, "a=10", half, 700*time.Millisecond)
	table.Step(1000 * time.Millisecond)
	s.wantGot(t)
	table.Step(1100 * time.Millisecond) // due at 1040
	s.wantGot(t, "a=10")
	table.offer(s, "a=11", half, 1550*time.Millisecond) // its time has come, and Step has not
	s.wantGot(t, "a=11")
	table.Step(2000 * time.Millisecond)
	if table.Len() != 1 {
		t.Error("forgotten too early")
	}
	table.Step(2100 * time.Millisecond) // due at 2040
	if table.Len() != 0 || table.Stats().Waiting != 0 {
		t.Errorf("%d slots are left", table.Len())
	}
	s.wantGot(t)
}

// Of messages that come all the time one is sent per interval, whatever the ticks.
func TestRate(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		want     int // in 14 s
	}{
		{100 * time.Millisecond, 140}, {time.Second / 7, 98}, {150 * time.Millisecond, 94}, {time.Second / 3, 42},
		{500 * time.Millisecond, 28}, {time.Second, 14}, {5 * time.Second, 3}, {time.Hour, 1},
	} {
		table := newTable(1 << 20)
		var at []time.Duration
		now := time.Duration(0)
		s := &session{id: 3}
		table.cfg.Write = func(s *session, m string) netpoll.Outcome {
			at = append(at, now)
			return netpoll.Written
		}
		for ; now < 14*time.Second; now += 7 * time.Millisecond {
			if now%tick < 7*time.Millisecond {
				table.Step(now)
			}
			table.offer(s, "a=", test.interval, now)
		}
		if n := len(at); n < test.want-1 || n > test.want+1 {
			t.Errorf("%v: %d messages, want %d", test.interval, n, test.want)
		}
		for i := 1; i < len(at); i++ {
			if d := at[i] - at[i-1]; d < test.interval-tick {
				t.Errorf("%v: only %v between two messages", test.interval, d)
			}
		}
	}
}

// The order of the names is that in which they began to wait, not that of their times or of
// their newest messages.
func TestOrder(t *testing.T) {
	table, s := newTable(1<<20), &session{id: 1}
	for i, m := range []string{"a=1", "b=1", "c=1", "d=1"} {
		table.offer(s, m, time.Second, time.Duration(i)*10*time.Millisecond)
	}
	for _, m := range []string{"c=2", "d=2", "a=2", "c=3", "b=2", "a=3"} {
		table.offer(s, m, time.Second, 500*time.Millisecond)
	}
	s.got = nil
	table.Step(1100 * time.Millisecond)
	s.wantGot(t, "c=3", "d=2", "a=3", "b=2")
	for _, m := range []string{"b=3", "d=3", "c=4", "b=4"} {
		table.offer(s, m, time.Second, 1200*time.Millisecond)
	}
	table.offer(s, "e=1", time.Second, 1200*time.Millisecond)
	s.wantGot(t, "e=1")
	if lost, _ := table.Flush(s); lost != 0 || table.Len() != 0 {
		t.Errorf("%d lost, %d slots left", lost, table.Len())
	}
	s.wantGot(t, "b=4", "d=3", "c=4")
}

// The interval of the newest message counts, and a message without one goes out at once, in place
// of one that waits.
func TestIntervals(t *testing.T) {
	table, s := newTable(1<<20), &session{id: 1}
	table.offer(s, "a=1", time.Hour, 0)
	table.offer(s, "a=2", time.Hour, time.Second)
	table.Step(2 * time.Second)
	s.wantGot(t, "a=1")
	table.offer(s, "a=3", 3*time.Second, 2*time.Second)
	table.Step(3 * time.Second)
	s.wantGot(t, "a=3")
	table.offer(s, "a=4", 3*time.Second, 4*time.Second)
	table.offer(s, "a=5", 0, 4*time.Second)
	s.wantGot(t, "a=5")
	table.offer(s, "a=6", 3*time.Second, 5*time.Second) // a=5 does not count
	table.offer(s, "a=7", 10*time.Second, 5*time.Second)
	table.Step(7 * time.Second)
	s.wantGot(t)
	table.Step(13 * time.Second)
	s.wantGot(t, "a=7")
	table.offer(s, "b=1", 0, 13*time.Second)
	if table.Len() != 1 {
		t.Errorf("%d slots", table.Len())
	}
}

// A queue that is full drops what is sent, and only that; a session that has begun to close
// accepts nothing that would wait.
func TestFailures(t *testing.T) {
	table, s := newTable(1<<20), &session{id: 1}
	s.next = netpoll.Dropped
	if o := table.offer(s, "a=1", time.Second, 0); o != netpoll.Dropped || table.Len() != 0 {
		t.Errorf("%v, %d slots", o, table.Len())
	}
	table.offer(s, "a=2", time.Second, 0)
	table.offer(s, "a=3", time.Second, 0)
	s.next = netpoll.Dropped
	table.offer(s, "a=4", 0, 0) // a=3 still waits
	s.next = netpoll.Full
	table.Step(time.Second)
	s.wantGot(t, "a=2")
	if !slices.Equal(s.failed, []netpoll.Outcome{netpoll.Full}) {
		t.Errorf("Failed was called with %v", s.failed)
	}
	table.offer(s, "a=5", time.Second, time.Second)
	table.offer(s, "b=1", time.Second, time.Second)
	table.offer(s, "b=2", time.Second, time.Second)
	if !table.Waits(s) || table.Waits(&session{id: 1}) {
		t.Error("Waits")
	}
	s.closed, s.next = true, netpoll.Gone
	if o := table.offer(s, "a=6", time.Second, time.Second); o != netpoll.Gone {
		t.Errorf("outcome %v", o)
	}
	if lost, o := table.Flush(s); lost != 1 || o != netpoll.Gone {
		t.Errorf("%d lost, %v", lost, o)
	}
	s.wantGot(t, "b=1", "b=2")
	if table.offer(s, "c=1", time.Second, time.Second); table.Len() != 0 || table.Waits(s) {
		t.Error("a slot of a closed session")
	}
	s.closed = false
	table.offer(s, "d=1", time.Second, time.Second)
	table.offer(s, "d=2", time.Second, time.Second)
	if table.Drop(s) != 1 || table.Drop(s) != 0 || table.Len() != 0 || table.Stats().Waiting != 0 {
		t.Errorf("%+v", table.Stats())
	}
}

// What a slot was due for may be done before its turn comes in a Step.
func TestDueTwice(t *testing.T) {
	table, s := newTable(1<<20), &session{id: 1}
	for _, m := range []string{"a=1", "b=1", "a=2", "b=2"} {
		table.offer(s, m, time.Second, 0)
	}
	s.next = netpoll.Dropped
	table.cfg.Failed = func(s *session, o netpoll.Outcome) {
		table.offer(s, "b=3", time.Second, time.Second)
		table.offer(s, "b=4", time.Second, time.Second)
	}
	table.Step(time.Second)
	s.wantGot(t, "a=1", "b=1", "b=3")
	if table.Len() != 2 || table.Stats() != (Stats{Waiting: 1, Replaced: 1}) {
		t.Errorf("%d slots, %+v", table.Len(), table.Stats())
	}
	table.Step(2 * time.Second)
	s.wantGot(t, "b=4")
}

// Beyond the budget messages are sent at once, and none waits that would be late.
func TestBudget(t *testing.T) {
	long := strings.Repeat("x", 100)
	table, s := newTable(2*SlotCost+110), &session{id: 1}
	for _, m := range []string{"a=1", "b=1", "c=1", "a=" + long, "b=" + long, "c=2", "a=2", "b=3"} {
		table.offer(s, m, time.Second, 0)
	}
	// There is room for two slots and one long message.
	s.wantGot(t, "a=1", "b=1", "c=1", "b="+long, "c=2")
	table.Step(time.Second)
	s.wantGot(t, "a=2", "b=3")
	if st := table.Stats(); st != (Stats{Replaced: 1, Early: 3}) {
		t.Errorf("%+v", st)
	}
	table.offer(&session{id: 2}, "a=1", time.Second, time.Second) // has a budget of its own
	if table.Len() != 3 {
		t.Errorf("%d slots", table.Len())
	}
}

// Many goroutines send, and sessions come and go: messages of a name arrive in order, and the
// last one does.
func TestConcurrent(t *testing.T) {
	var last [4][3]struct {
		sync.Mutex
		n int
	}
	table := NewTable(Config[*session, [2]int]{
		Write: func(s *session, m [2]int) netpoll.Outcome {
			l := &last[s.id/shards][m[0]] // all in one shard
			l.Lock()
			defer l.Unlock()
			if m[1] <= l.n {
				t.Errorf("session %d: %d follows %d", s.id, m[1], l.n)
			}
			l.n = m[1]
			return netpoll.Written
		},
		Failed: func(*session, netpoll.Outcome) {},
		Open:   func(*session) bool { return true },
		Hash:   func(s *session) uint64 { return s.id },
		Size:   func([2]int) int { return 0 },
		Budget: 1 << 20,
	}, tick, 8)
	const n = 2000
	begun := time.Now()
	now := func() time.Duration { return time.Since(begun) * 1000 } // a tick is 100 µs
	var senders, others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				table.Step(now())
			}
		}
	})
	var all []*session
	for i := range last {
		s := &session{id: uint64(i) * shards}
		all = append(all, s)
		for name := range last[i] {
			senders.Go(func() {
				key := unique.Make(fmt.Sprint(name))
				for m := 1; m <= n; m++ {
					interval := tick * time.Duration(1+m%3)
					if m%100 == 0 {
						interval = 0
					}
					table.Offer(s, key, [2]int{name, m}, interval, now())
					if m%500 == 250 {
						table.Flush(s)
					}
				}
			})
		}
	}
	senders.Wait()
	close(done)
	others.Wait()
	for _, s := range all {
		table.Flush(s)
	}
	for i := range last {
		for name := range last[i] {
			if got := last[i][name].n; got != n {
				t.Errorf("session %d, name %d: the last message is %d", i, name, got)
			}
		}
	}
	if table.Len() != 0 || table.Stats().Waiting != 0 {
		t.Errorf("%d slots, %+v", table.Len(), table.Stats())
	}
}
