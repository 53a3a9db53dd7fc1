package netpoll

import (
	"sync"
	"time"
)

// lingerList keeps rejected connections open for a moment, with their sending side shut
// down after the response. If they were closed at once, a peer whose request is on its way
// would get a reset, which may discard the response before the peer reads it. A connection
// is closed after lingerTime, or when maxLingering others have followed, so a flood costs
// only their descriptors and keeps each for a shorter time.
type lingerList struct {
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
	// maxLingering is part of the division of descriptors in server/internal/limit.
	maxLingering = 32
)

// hold closes a connection later.
func (l *lingerList) hold(closing func(), now time.Duration) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		closing()
		return
	}
	var first func()
	if len(l.last) == maxLingering {
		first = l.last[0].close
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.last = append(l.last, lingering{now, closing})
	if len(l.last) == 1 {
		l.timer.Reset(lingerTime)
	}
	l.mu.Unlock()
	if first != nil {
		first()
	}
}

// expire closes the connections that have lingered for lingerTime.
func (l *lingerList) expire(now time.Duration) {
	l.mu.Lock()
	n := 0
	for n < len(l.last) && now-l.last[n].since >= lingerTime {
		n++
	}
	over := append([]lingering(nil), l.last[:n]...)
	l.last = append(l.last[:0], l.last[n:]...)
	if len(l.last) > 0 {
		l.timer.Reset(lingerTime - (now - l.last[0].since))
	}
	l.mu.Unlock()
	for _, c := range over {
		c.close()
	}
}

// end closes all connections, and makes hold close further ones at once.
func (l *lingerList) end() {
	l.mu.Lock()
	all := l.last
	l.last, l.ended = nil, true
	l.timer.Stop()
	l.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}
