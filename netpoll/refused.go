package netpoll

import (
	"sync"
	"time"
)

// refused holds the last connections that were refused, a moment longer. Their
// sending side is shut down behind the refusal, and nobody looks at them any more; but
// closed at once, a peer whose request is on its way would have a reset for an answer,
// which may throw away the refusal before it is read. A flood of them costs no more than
// their descriptors, and holds each for a shorter time: one is closed when it has been
// here for lingerTime, or when lingerMost others have come.
type refused struct {
	mu    sync.Mutex
	last  []lingering // oldest first. guarded by mu
	ended bool        // guarded by mu
	timer *time.Timer // runs while there are some
}

type lingering struct {
	since time.Duration // of the engine's clock
	close func()
}

const (
	// lingerTime is some round trips, for a request that is on its way.
	lingerTime = time.Second
	// lingerMost is half of the 64 descriptors that a process keeps free at the least.
	lingerMost = 32
)

// hold closes a connection later.
func (r *refused) hold(closing func(), now time.Duration) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		closing()
		return
	}
	var first func()
	if len(r.last) == lingerMost {
		first = r.last[0].close
		r.last = append(r.last[:0], r.last[1:]...)
	}
	r.last = append(r.last, lingering{now, closing})
	if len(r.last) == 1 {
		r.timer.Reset(lingerTime)
	}
	r.mu.Unlock()
	if first != nil {
		first()
	}
}

// expire closes those whose time is over.
func (r *refused) expire(now time.Duration) {
	r.mu.Lock()
	n := 0
	for n < len(r.last) && now-r.last[n].since >= lingerTime {
		n++
	}
	over := append([]lingering(nil), r.last[:n]...)
	r.last = append(r.last[:0], r.last[n:]...)
	if len(r.last) > 0 {
		r.timer.Reset(lingerTime - (now - r.last[0].since))
	}
	r.mu.Unlock()
	for _, l := range over {
		l.close()
	}
}

// end closes all, and those to come at once.
func (r *refused) end() {
	r.mu.Lock()
	all := r.last
	r.last, r.ended = nil, true
	r.timer.Stop()
	r.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}
