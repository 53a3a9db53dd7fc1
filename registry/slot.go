package registry

import "sync"

// slot holds timers in two lists. Advance moves waiting to due, which costs one step however many there
// are, and then pops from due: what must wait for a later revolution goes back to waiting, the rest
// fires. So a timer that has not fired yet is always in a list, from which Stop can take it, and one
// that is scheduled while the slot fires is not met again. Between calls of Advance, due is empty.
type slot[S comparable] struct {
	mu           sync.Mutex
	waiting, due S // the first of each
	armed        int
}

// fire calls f for every timer that is due at tick to.
func (w *Wheel[S]) fire(sl *slot[S], to int64, f func(S)) {
	var none S
	sl.mu.Lock()
	if sl.waiting != none {
		sl.due, sl.waiting = sl.waiting, none
		w.timer(sl.due).here = &sl.due
	}
	sl.mu.Unlock()
	for {
		s, more := w.pop(sl, to)
		if s != none {
			f(s)
		}
		if !more {
			return
		}
	}
}

// pop disarms one timer that is due at tick to and returns it. It gives up for a while, so that others
// get the lock, when it has met many that are not due.
func (w *Wheel[S]) pop(sl *slot[S], to int64) (s S, more bool) {
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
		if t.at.Load() <= to { // late is less than any tick
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

// push links a timer in at the head of a list.
func (w *Wheel[S]) push(head *S, s S, t *Timer[S]) {
	var none S
	if *head != none {
		w.timer(*head).here = &t.next
	}
	t.next, t.here = *head, head
	*head = s
}

// unlink takes a timer out of the list in which it is.
func (w *Wheel[S]) unlink(t *Timer[S]) {
	var none S
	if t.next != none {
		w.timer(t.next).here = t.here
	}
	*t.here = t.next
	t.next, t.here = none, nil
}
