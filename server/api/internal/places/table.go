package places

import (
	"container/list"
	"sync"

	"github.com/valyala/fasthttp"

	"fanfare/server/internal/limit"
)

// Place is the part of a connection that a Table needs. Its fields are guarded by Table.mu.
type Place struct {
	at         *list.Element // nil: none
	authorized bool          // in which of the lists
	state      fasthttp.ConnState
}

func (p *Place) place() *Place { return p }

// Conn is a pointer to a connection that embeds a Place.
type Conn interface {
	comparable
	place() *Place
}

// Table holds the open connections of the API, and those that are being rejected.
type Table[C Conn] struct {
	// Immutable after New.
	limit       int
	maxRejected int // each for 2 s at most
	descriptors int

	mu         sync.Mutex
	stopping   bool           // guarded by mu
	anonymous  list.List      // of C, the oldest first; guarded by mu
	authorized list.List      // of C, the longest idle first; guarded by mu
	rejected   map[C]struct{} // not in the lists; guarded by mu
}

// New returns a Table with as many places as configured. If that is 0, it has the API's share
// of the descriptors, of which the caller keeps others for itself.
func New[C Conn](configured, others int) *Table[C] {
	d := limit.Divide(others)
	t := &Table[C]{limit: configured, maxRejected: d.Rejected, rejected: make(map[C]struct{})}
	if configured == 0 {
		if t.limit = d.API; d.API < limit.MaxAPI {
			t.descriptors = d.Open
		}
	}
	return t
}

// Limit returns the number of places.
func (t *Table[C]) Limit() int { return t.limit }

// Descriptors returns the descriptor limit of the process if Limit follows from it, else 0.
func (t *Table[C]) Descriptors() int { return t.descriptors }

// Add gives a new connection a place, and reports whether there is one. If replaced is true,
// victim has lost its place, and the caller closes it.
func (t *Table[C]) Add(c C) (victim C, replaced, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := t.anonymous.Len(); {
	case n+t.authorized.Len() < t.limit && n < max(t.limit/2, 1):
	case n > 0:
		victim, replaced = t.anonymous.Front().Value.(C), true
	default:
		if victim, replaced = t.idleLocked(); !replaced {
			return victim, false, false
		}
	}
	if replaced {
		t.removeLocked(victim)
	}
	p := c.place()
	p.at, p.state = t.anonymous.PushBack(c), fasthttp.StateNew
	return victim, replaced, true
}

// idleLocked returns the authorized connection that has been idle for longest.
func (t *Table[C]) idleLocked() (idle C, ok bool) {
	for e := t.authorized.Front(); e != nil; e = e.Next() {
		if c := e.Value.(C); c.place().state != fasthttp.StateActive {
			return c, true
		}
	}
	return idle, false
}

func (t *Table[C]) removeLocked(c C) {
	switch p := c.place(); {
	case p.at == nil:
		return
	case p.authorized:
		t.authorized.Remove(p.at)
	default:
		t.anonymous.Remove(p.at)
	}
	c.place().at = nil
}

// Authorize notes that a request of the connection has been authorized.
func (t *Table[C]) Authorize(c C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := c.place()
	if p.at == nil || p.authorized {
		return
	}
	t.anonymous.Remove(p.at)
	p.at, p.authorized = t.authorized.PushBack(c), true
}

// Note stores the state of a connection, and reports whether the caller must close it because
// of Stop.
func (t *Table[C]) Note(c C, state fasthttp.ConnState) (closeNow bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := c.place()
	p.state = state
	switch state {
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		t.removeLocked(c)
		return false
	case fasthttp.StateIdle:
		if p.authorized && p.at != nil {
			t.authorized.MoveToBack(p.at)
		}
	case fasthttp.StateActive:
		return false
	}
	return t.stopping
}

// Reject registers a connection without a place that is about to be answered, and reports
// whether there is room for one more.
func (t *Table[C]) Reject(c C) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rejected) >= t.maxRejected || t.stopping {
		return false
	}
	t.rejected[c] = struct{}{}
	return true
}

// Rejected notes that the connection has been answered.
func (t *Table[C]) Rejected(c C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rejected, c)
}

// Stop returns the connections without a request in progress, for the caller to close. From
// then on Note reports each connection whose request has ended.
func (t *Table[C]) Stop() (idle []C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	for c := range t.rejected {
		idle = append(idle, c)
	}
	for c := range t.eachLocked {
		if c.place().state != fasthttp.StateActive {
			idle = append(idle, c)
		}
	}
	return idle
}

// All returns the open connections.
func (t *Table[C]) All() (open []C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.eachLocked {
		open = append(open, c)
	}
	return open
}

// Len returns the number of open connections.
func (t *Table[C]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.anonymous.Len() + t.authorized.Len()
}

func (t *Table[C]) eachLocked(yield func(C) bool) {
	for _, l := range []*list.List{&t.anonymous, &t.authorized} {
		for e := l.Front(); e != nil; e = e.Next() {
			if !yield(e.Value.(C)) {
				return
			}
		}
	}
}
