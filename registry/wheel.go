package registry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Timer is a session's place in a Wheel. It is a field of the session; the zero value is ready, and means
// that the timer is not armed.
type Timer[S any] struct {
	// Guarded by the lock of the slot that at names.
	next S
	link *S // the variable that points to this timer: next of the previous timer, or the head of a list

	// The tick at which the timer is due, or idle or overdue; it also names the slot that the timer is in.
	// It changes from idle under the lock of the new slot, and back to idle under the lock of the old
	// slot. So any goroutine may read it, and it does not change while the slot that it names is locked.
	at atomic.Int64
}

const (
	idle    = 0  // in no slot
	overdue = -1 // in Wheel.overdue: was already due when it was scheduled
)

// Wheel is a hashed timer wheel (Varghese and Lauck, 1987, scheme 6): slot i has the timers whose due tick
// is i modulo the number of slots, of all revolutions. Schedule, Stop and firing take constant time and do
// not allocate. Use NewWheel to create one.
//
// Time is a duration since an origin that the caller chooses, the same for Schedule and Advance.
type Wheel[S comparable] struct {
	// Immutable.
	timer func(S) *Timer[S]
	tick  time.Duration
	mask  int64 // number of slots, a power of two, minus one

	// The tick up to which Advance has fired timers, or is firing them. Written by Advance alone.
	now atomic.Int64

	slots   []slot[S] // by tick
	overdue slot[S]   // due at the next Advance
}

// NewWheel returns a wheel with a resolution of tick. The number of slots is rounded up to a power of two.
// If slots times tick exceeds the usual delay, Advance rarely visits a timer that is not due yet.
//
// timer returns the address of the Timer in a session and does nothing else: the wheel calls it while it
// holds a lock.
func NewWheel[S comparable](timer func(S) *Timer[S], tick time.Duration, slots int) *Wheel[S] {
	if tick <= 0 || slots <= 0 {
		panic("BUG: registry: NewWheel needs a positive tick and number of slots")
	}
	n := 1 << bits.Len(uint(slots-1))
	return &Wheel[S]{timer: timer, tick: tick, mask: int64(n - 1), slots: make([]slot[S], n)}
}

func (w *Wheel[S]) slot(at int64) *slot[S] {
	if at == overdue {
		return &w.overdue
	}
	return &w.slots[at&w.mask]
}

// Schedule arms the timer of s for due, or moves it there if it is armed. The timer fires in the first
// Advance to due, rounded up to the next tick, or later. If that has passed already, the timer fires in the
// next call of Advance, not in the one that is running, so an Advance fires each timer at most once.
//
// Schedule returns true if it has moved the timer, which then does not fire at its earlier time. It returns
// false if the timer was not armed, which includes that it is firing: the function given to Advance has
// been called with s, or is about to be, and will be called again for due.
func (w *Wheel[S]) Schedule(s S, due time.Duration) (moved bool) {
	at := int64(due / w.tick)
	if due%w.tick > 0 {
		at++
	}
	t := w.timer(s)
	for {
		moved = w.disarm(t) || moved
		if w.arm(s, t, at) {
			return moved
		}
		// Another goroutine has armed it meanwhile. The last call of Schedule wins.
	}
}

// Stop disarms the timer of s. It returns false if the timer was not armed, which includes that it is
// firing: the function given to Advance has been called with s, or is about to be.
func (w *Wheel[S]) Stop(s S) bool {
	return w.disarm(w.timer(s))
}

// arm adds an idle timer to a slot. It returns false if the timer is not idle.
func (w *Wheel[S]) arm(s S, t *Timer[S], at int64) bool {
	sl := w.slot(at)
	sl.mu.Lock()
	// Advance stores a tick in now before it locks the slot of the tick. So if at is later than now while
	// the slot is locked, Advance has yet to fire this slot for at. Otherwise it may have done so already.
	if at <= w.now.Load() {
		sl.mu.Unlock()
		at, sl = overdue, &w.overdue
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

// disarm removes a timer from its slot. It returns false if the timer is idle.
func (w *Wheel[S]) disarm(t *Timer[S]) bool {
	for {
		at := t.at.Load()
		if at == idle {
			return false
		}
		sl := w.slot(at)
		sl.mu.Lock()
		if t.at.Load() != at { // fired or moved before this call got the lock
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

// Advance moves the wheel to now and calls fire, without holding a lock, for every timer that is due. fire
// may call Schedule and Stop for any timer, including the one that fires, but not Advance, and must not
// panic. It may take long: a due timer stays in the wheel, where Schedule and Stop find it, until fire is
// called for it.
//
// Only one call of Advance may run at a time. However far now is ahead, Advance visits each slot at most
// once. If now is before the time of an earlier call, that time is used.
func (w *Wheel[S]) Advance(now time.Duration, fire func(S)) {
	from := w.now.Load()
	to := max(from, int64(now/w.tick))
	w.now.Store(to)
	w.fireSlot(&w.overdue, to, fire)
	for left := min(to-from, w.mask+1); left > 0; left-- {
		w.fireSlot(w.slot(to-left+1), to, fire)
	}
}

// Armed returns the number of armed timers. It visits every slot; while timers are armed and fire the sum
// is approximate.
func (w *Wheel[S]) Armed() int {
	n := w.overdue.count()
	for i := range w.slots {
		n += w.slots[i].count()
	}
	return n
}
