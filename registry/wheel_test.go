package registry

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const tick = 100 * time.Millisecond

// check fails the test if w is inconsistent, and returns the number of armed timers. No other call may run
// at the same time.
func (w *Wheel[S]) check(tb testing.TB) (armed int) {
	tb.Helper()
	var none S
	look := func(sl *slot[S]) {
		if sl.due != none {
			tb.Fatal("the due list is not empty")
		}
		n, link := 0, &sl.waiting
		for s := sl.waiting; s != none; s = w.timer(s).next {
			t := w.timer(s)
			if t.link != link {
				tb.Fatal("link does not point to the variable that points to the timer")
			}
			if at := t.at.Load(); at == idle || w.slot(at) != sl {
				tb.Fatalf("a timer for tick %d is in another slot", at)
			} else if at != overdue && at <= w.now.Load() {
				tb.Fatalf("a timer for tick %d is armed at tick %d", at, w.now.Load())
			}
			n++
			link = &t.next
		}
		if n != sl.armed {
			tb.Fatalf("%d timers, armed is %d", n, sl.armed)
		}
		armed += n
	}
	look(&w.overdue)
	for i := range w.slots {
		look(&w.slots[i])
	}
	if n := w.Armed(); n != armed {
		tb.Fatalf("Armed() = %d, want %d", n, armed)
	}
	return armed
}

func fired(w *Wheel[*session], now time.Duration) (ids []int) {
	w.Advance(now, func(s *session) { ids = append(ids, s.id) })
	return ids
}

func TestWheelRounding(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name          string
		now, due      time.Duration
		silent, fires time.Duration // the last time at which it does not fire, the first at which it does
	}{
		{"on a tick", 0, 300 * ms, 300*ms - 1, 300 * ms},
		{"just after a tick", 0, 300*ms + 1, 400*ms - 1, 400 * ms},
		{"just before a tick", 0, 400*ms - 1, 400*ms - 1, 400 * ms},
		{"next tick", 1000 * ms, 1001 * ms, 1100*ms - 1, 1100 * ms},
		{"now", 1000 * ms, 1000 * ms, -1, 1000 * ms},
		{"now, between ticks", 1050 * ms, 1050 * ms, 1100*ms - 1, 1100 * ms},
		{"past", 1000 * ms, 10 * ms, -1, 1000 * ms},
		{"the origin", 0, 0, -1, 0},
		{"before the origin", 0, -time.Hour, -1, 0},
		{"one revolution", 0, 1600 * ms, 1600*ms - 1, 1600 * ms},
		{"many revolutions", 700 * ms, 5 * time.Hour, 5*time.Hour - 1, 5 * time.Hour},
		{"a jump", 700 * ms, 750 * ms, 799 * ms, 10000 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWheel(tick, 16)
			fired(w, test.now)
			s := &session{id: 1}
			w.Schedule(s, test.due)
			w.check(t)
			if test.silent >= 0 {
				if got := fired(w, test.silent); got != nil {
					t.Fatalf("fired at %v", test.silent)
				}
			}
			w.check(t)
			if got := fired(w, test.fires); len(got) != 1 {
				t.Fatalf("at %v: fired %d times, want once", test.fires, len(got))
			}
			if w.check(t) != 0 || w.Stop(s) {
				t.Fatal("still armed")
			}
		})
	}
}

func TestWheelStop(t *testing.T) {
	w := newWheel(tick, 16)
	var s [3]session
	if w.Stop(&s[0]) {
		t.Fatal("Stop of a timer that was never armed returned true")
	}
	for i := range s {
		s[i].id = i
		w.Schedule(&s[i], time.Second)
	}
	if !w.Stop(&s[1]) || w.Stop(&s[1]) || w.check(t) != 2 {
		t.Fatal("Stop in the middle of a list")
	}
	w.Schedule(&s[0], 500*time.Millisecond) // moves
	if w.check(t) != 2 {
		t.Fatal("Schedule armed a timer twice")
	}
	if got := fired(w, 500*time.Millisecond); !same(got, []int{0}) {
		t.Fatalf("fired %v, want 0", got)
	}
	if got := fired(w, time.Second); !same(got, []int{2}) {
		t.Fatalf("fired %v, want 2", got)
	}
}

// The function given to Advance may stop and schedule the timer that fires and others.
func TestWheelInsideFire(t *testing.T) {
	for _, test := range []struct {
		name      string
		do        func(w *Wheel[*session], self, other *session)
		now, then []int // the timers that fire in this Advance, in order, and in one a tick later
	}{
		{"nothing", func(_ *Wheel[*session], _, _ *session) {}, []int{1, 2}, nil},
		{"stop self", func(w *Wheel[*session], self, _ *session) {
			if w.Stop(self) {
				panic("a firing timer was armed")
			}
		}, []int{1, 2}, nil},
		{"stop other", func(w *Wheel[*session], self, other *session) {
			if self.id == 1 && !w.Stop(other) {
				panic("a timer that has not fired yet was not armed")
			}
		}, []int{1}, nil},
		{"schedule self, due already", func(w *Wheel[*session], self, _ *session) {
			if self.id == 1 {
				w.Schedule(self, 0)
			}
		}, []int{1, 2}, []int{1}},
		{"schedule self, one revolution", func(w *Wheel[*session], self, _ *session) {
			if self.id == 1 {
				w.Schedule(self, time.Second+16*tick)
			}
		}, []int{1, 2}, nil},
		{"move other to the next tick", func(w *Wheel[*session], self, other *session) {
			if self.id == 1 {
				w.Schedule(other, time.Second+tick)
			}
		}, []int{1}, []int{2}},
		{"schedule both, each time", func(w *Wheel[*session], self, other *session) {
			w.Schedule(self, time.Second)
			w.Schedule(other, time.Second)
		}, []int{1}, []int{2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWheel(tick, 16)
			s := []*session{{id: 1}, {id: 2}}
			w.Schedule(s[1], time.Second)
			w.Schedule(s[0], time.Second) // scheduled last, fires first
			var got []int
			fire := func(self *session) {
				got = append(got, self.id)
				test.do(w, self, s[2-self.id])
			}
			w.Advance(time.Second, fire)
			if fmt.Sprint(got) != fmt.Sprint(test.now) {
				t.Fatalf("fired %v, want %v", got, test.now)
			}
			w.check(t)
			got = nil
			w.Advance(time.Second+tick, fire)
			if fmt.Sprint(got) != fmt.Sprint(test.then) {
				t.Fatalf("a tick later: fired %v, want %v", got, test.then)
			}
			w.check(t)
		})
	}
}

// A time before that of an earlier Advance counts as the earlier one.
func TestWheelClockGoesBack(t *testing.T) {
	w := newWheel(tick, 16)
	a, b := &session{id: 1}, &session{id: 2}
	fired(w, 10*time.Second)
	w.Schedule(a, 11*time.Second)
	w.Schedule(b, 5*time.Second)
	if got := fired(w, 2*time.Second); !same(got, []int{2}) {
		t.Fatalf("fired %v, want 2, which was overdue", got)
	}
	w.Schedule(b, 5*time.Second)
	if got := fired(w, 2*time.Second); !same(got, []int{2}) {
		t.Fatalf("fired %v, want 2, which was overdue again", got)
	}
	if got := fired(w, 11*time.Second); !same(got, []int{1}) {
		t.Fatalf("fired %v, want 1", got)
	}
}

// Advance visits each slot at most once, however far the time has moved.
func TestWheelJump(t *testing.T) {
	w := newWheel(1, 16)
	s := &session{id: 1}
	w.Schedule(s, math.MaxInt64)
	if got := fired(w, math.MaxInt64-1); got != nil {
		t.Fatal("fired early")
	}
	if got := fired(w, math.MaxInt64); len(got) != 1 {
		t.Fatal("did not fire at the end of time")
	}
}

// A slot with many timers of later revolutions fires those that are due and keeps the others.
func TestWheelLaterRevolutions(t *testing.T) {
	w := newWheel(tick, 4)
	for i := range 1000 { // all in slot 0, 100 for each of 10 revolutions
		w.Schedule(&session{id: i}, tick*time.Duration(4*(i/100+1)))
	}
	total := 0
	for i := 1; i <= 40; i++ {
		got, want := fired(w, time.Duration(i)*tick), 0
		if i%4 == 0 {
			want = 100
		}
		if len(got) != want {
			t.Fatalf("at tick %d: fired %d, want %d", i, len(got), want)
		}
		total += len(got)
		if w.check(t) != 1000-total {
			t.Fatal("timers are missing")
		}
	}
}

func TestNewWheel(t *testing.T) {
	for _, test := range []struct{ slots, want int }{{1, 1}, {2, 2}, {3, 4}, {4, 4}, {500, 512}} {
		if got := len(newWheel(tick, test.slots).slots); got != test.want {
			t.Errorf("NewWheel with %d slots has %d, want %d", test.slots, got, test.want)
		}
	}
	for _, bad := range []struct {
		tick  time.Duration
		slots int
	}{{0, 1}, {-1, 1}, {1, 0}, {1, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewWheel(%d, %d) does not panic", bad.tick, bad.slots)
				}
			}()
			newWheel(bad.tick, bad.slots)
		}()
	}
}
