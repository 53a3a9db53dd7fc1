package pusher

import "sync"

// sequence runs functions one after another, in the order in which they were added. A caller
// adds while it holds the lock that orders what the functions report, and runs when it holds
// none: one caller runs the functions of all.
type sequence struct {
	mu      sync.Mutex
	waiting []func() // guarded by mu
	running bool     // guarded by mu
}

func (q *sequence) add(f func()) {
	q.mu.Lock()
	q.waiting = append(q.waiting, f)
	q.mu.Unlock()
}

// run returns when all functions have run, or another goroutine has taken them.
func (q *sequence) run() {
	for {
		q.mu.Lock()
		if q.running || len(q.waiting) == 0 {
			q.mu.Unlock()
			return
		}
		list := q.waiting
		q.waiting, q.running = nil, true
		q.mu.Unlock()
		q.call(list)
	}
}

// call runs functions. After a panic, which its caller recovers, the next run goes on with those
// that are left.
func (q *sequence) call(list []func()) {
	defer func() {
		q.mu.Lock()
		q.waiting, q.running = append(list, q.waiting...), false
		q.mu.Unlock()
	}()
	for len(list) > 0 {
		f := list[0]
		list = list[1:]
		f()
	}
}
