package registry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Timer is a session's place in a Wheel. It is a field of the session; the zero value is ready, and
// means that the timer is not armed.
type Timer[S any] struct {
	// Guarded by the lock of the slot to which at points.
	next S
	here *S // the variable that leads here: the next of the timer before, or the head of a list

	// The tick at which the timer is due, or idle, or late: so also the slot in which it is. It changes
	// from idle under the lock of the new slot, and back to idle under that of the old one, so it may
	// be read by anyone, and holds still for whoever has locked the slot that it names.
	at atomic.Int64
}

const (
	idle = 0  // in no slot
	late = -1 // in Wheel.late: was due already when it was scheduled
)

// Wheel is a hashed timer wheel (Varghese and Lauck, 1987, scheme 6): slot i holds the timers whose due
// tick is i modulo the number of slots, whatever the revolution. Arming, stopping and firing take
// constant time and allocate nothing. NewWheel makes one.
//
// Time is a duration since an origin of the caller's choice, the same for Schedule and Advance.
type Wheel[S comparable] struct {
	// Immutable.
	timer func(S) *Timer[S]
	tick  time.Duration
	mask  int64 // number of slots, a power of two, minus one

	// The tick up to which Advance has fired, or is firing. Written by Advance alone.
	now atomic.Int64

	slots []slot[S] // by tick
	late  slot[S]   // due at the next Advance
}

// NewWheel returns a wheel that looks at its timers every tick. The number of slots is rounded up to a
// power of two. If slots times tick exceeds the usual delay, Advance never looks at a timer in vain.
//
// timer returns the address of the Timer in a session and does nothing else: the wheel calls it with a
// lock held.
func NewWheel[S comparable](timer func(S) *Timer[S], tick time.Duration, slots int) *Wheel[S] {
	if tick <= 0 || slots <= 0 {
		panic("BUG: registry: a wheel needs a tick and slots")
	}
	n := 1 << bits.Len(uint(slots-1))
	return &Wheel[S]{timer: timer, tick: tick, mask: int64(n - 1), slots: make([]slot[S], n)}
}

func (w *Wheel[S]) slot(at int64) *slot[S] {
	if at == late {
		return &w.late
	}
	return &w.slots[at&w.mask]
}

// Schedule arms the timer of s for due, or moves it there if it is armed. It fires in the first Advance
// whose time is not before due rounded up to the next tick. If due has passed already, that is the next
// call of Advance; not the one that is running, so an Advance fires each timer at most once.
func (w *Wheel[S]) Schedule(s S, due time.Duration) {
	at := int64(due / w.tick)
	if due%w.tick > 0 {
		at++
	}
	t := w.timer(s)
	for {
		w.take(s, t)
		if w.put(s, t, at) {
			return
		}
		// Another goroutine armed it meanwhile. The last one wins.
	}
}

// Stop disarms the timer of s. It returns false if the timer was not armed, which includes that it is
// firing: the function given to Advance has been called with s, or is about to be.
func (w *Wheel[S]) Stop(s S) bool {
	return w.take(s, w.timer(s))
}

// put links an idle timer. It returns false if the timer is not idle.
func (w *Wheel[S]) put(s S, t *Timer[S], at int64) bool {
	sl := w.slot(at)
	sl.mu.Lock()
	// Advance announces a tick before it locks the tick's slot. So if it has not announced this one by
	// now, while the slot is locked, it is still to come here. Otherwise it may have been here already.
	if at <= w.now.Load() {
		sl.mu.Unlock()
		at, sl = late, &w.late
		sl.mu.Lock()
	}
	defer sl.mu.Unlock()
	if !t.at.CompareAndSwap(idle, at) {
		return false
	}
	w.push(&sl.waiting, s, t)
	sl.armed++
	return true
}

// take unlinks a timer wherever it is. It returns false if the timer is idle.
func (w *Wheel[S]) take(s S, t *Timer[S]) bool {
	for {
		at := t.at.Load()
		if at == idle {
			return false
		}
		sl := w.slot(at)
		sl.mu.Lock()
		if t.at.Load() != at { // moved before we had the lock
			sl.mu.Unlock()
			continue
		}
		w.unlink(t)
		t.at.Store(idle)
		sl.armed--
		sl.mu.Unlock()
		return true
	}
}

// Advance moves the wheel to now and calls fire, with no lock held, for every timer that is due. fire
// may call Schedule and Stop for any timer, its own too, but not Advance, and must not panic. There is
// one call of Advance at a time. The cost does not depend on how far time has gone beyond one
// revolution. A now before that of an earlier call counts as that one.
func (w *Wheel[S]) Advance(now time.Duration, fire func(S)) {
	from := w.now.Load()
	to := max(from, int64(now/w.tick))
	w.now.Store(to)
	w.fire(&w.late, to, fire)
	for left := min(to-from, w.mask+1); left > 0; left-- { // each slot once
		w.fire(w.slot(to-left+1), to, fire)
	}
}

// Armed returns how many timers are armed. It looks at every slot in turn; while timers come and go the
// sum is approximate.
func (w *Wheel[S]) Armed() int {
	n := w.late.count()
	for i := range w.slots {
		n += w.slots[i].count()
	}
	return n
}
