package registry

import "sync"

// slot has the timers of one slot of a wheel, in two lists. Advance moves the whole list waiting to due,
// which is one step however long the list is, and then pops timers from due: a timer of a later
// revolution goes back to waiting, the others fire. So a timer that has not fired yet is always in a list,
// from which Stop and Schedule can remove it, and Advance does not meet a timer again that is scheduled
// while the slot fires. Between calls of Advance due is empty.
type slot[S comparable] struct {
	// Guarded by mu.
	mu           sync.Mutex
	waiting, due S // the first timer of each list
	armed        int
}

// fireSlot calls f for every timer in sl that is due at tick to.
func (w *Wheel[S]) fireSlot(sl *slot[S], to int64, f func(S)) {
	var none S
	sl.mu.Lock()
	if sl.waiting != none {
		sl.due, sl.waiting = sl.waiting, none
		w.timer(sl.due).link = &sl.due
	}
	sl.mu.Unlock()
	for {
		s, again := w.pop(sl, to)
		if s != none {
			f(s)
		}
		if !again {
			return
		}
	}
}

// pop disarms one timer that is due at tick to and returns it; again is false when due is empty. After 64
// timers that are not due pop returns without one, so that other calls get the lock.
func (w *Wheel[S]) pop(sl *slot[S], to int64) (s S, again bool) {
	var none S
	sl.mu.Lock()
	defer sl.mu.Unlock()
	for range 64 {
		s := sl.due
		if s == none {
			return none, false
		}
		t := w.timer(s)
		w.unlink(t)
		if t.at.Load() <= to { // true for overdue, which is less than any tick
			t.at.Store(idle)
			sl.armed--
			return s, true
		}
		w.push(&sl.waiting, s, t)
	}
	return none, true
}

func (sl *slot[S]) count() int {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.armed
}

// push adds a timer at the head of a list.
func (w *Wheel[S]) push(head *S, s S, t *Timer[S]) {
	var none S
	if *head != none {
		w.timer(*head).link = &t.next
	}
	t.next, t.link = *head, head
	*head = s
}

// unlink removes a timer from its list.
func (w *Wheel[S]) unlink(t *Timer[S]) {
	var none S
	if t.next != none {
		w.timer(t.next).link = t.link
	}
	*t.link = t.next
	t.next, t.link = none, nil
}
