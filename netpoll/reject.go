package netpoll

import (
	"sync"
	"time"
)

// rejected holds the connections that were rejected last for a moment longer. Their
// sending side is shut down after the response, and nothing reads them. But if they were
// closed at once, a peer whose request is on its way would get a reset, which may discard
// the response before the peer reads it. A connection is closed after lingerTime, or when
// maxLingering others have followed, so a flood costs only their descriptors and holds
// each for a shorter time.
type rejected struct {
	mu    sync.Mutex
	last  []lingering // oldest first. guarded by mu
	ended bool        // guarded by mu
	timer *time.Timer // runs while last is not empty
}

type lingering struct {
	since time.Duration // of the engine's clock
	close func()
}

const (
	// lingerTime is several round trips, for a request that is on its way.
	lingerTime = time.Second
	// maxLingering is half of the 64 descriptors that the server keeps in reserve.
	maxLingering = 32
)

// hold closes a connection later.
func (r *rejected) hold(closing func(), now time.Duration) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		closing()
		return
	}
	var first func()
	if len(r.last) == maxLingering {
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

// expire closes the connections that have lingered for lingerTime.
func (r *rejected) expire(now time.Duration) {
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

// end closes all connections, and makes hold close further ones at once.
func (r *rejected) end() {
	r.mu.Lock()
	all := r.last
	r.last, r.ended = nil, true
	r.timer.Stop()
	r.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}
