package api

import (
	"container/list"
	"sync"

	"fanfare/server/internal/limit"

	"github.com/valyala/fasthttp"
)

// connTable holds the open connections of the API, and decides what happens to a new one
// when there are too many.
//
// A connection is anonymous until a request of it has been authorized: with an API key, or
// without one if the API needs none. Anonymous connections have at most half of the
// places. A new connection is anonymous; if it has no place, the oldest anonymous
// connection is closed for it, or, if there is none, the one that has been idle for
// longest. If every connection has a request in progress, the new one is answered 503.
// So connections that send nothing, or no valid key, do not exclude callers.
type connTable struct {
	// Immutable after init; tests set lower values.
	limit       int
	descriptors int      // the descriptor limit of the process if limit follows from it; else 0
	full        *problem // the answer to a connection that has no place

	mu         sync.Mutex
	stopping   bool               // guarded by mu
	anonymous  list.List          // of *conn, the oldest first; guarded by mu
	authorized list.List          // of *conn, the longest idle first; guarded by mu
	rejected   map[*conn]struct{} // being answered 503, not in the lists; guarded by mu
}

const (
	// maxConnections is the default limit where descriptors abound. Backends keep few
	// connections.
	maxConnections = 4096
	minConnections = 8
	// lowConnections: Start logs a limit below this one.
	lowConnections = 64
	// maxRejected bounds the connections that are answered 503 at a time, each for 2 s at
	// most; further ones are closed without an answer.
	maxRejected = 64
)

// init sets the limit. Without a configured one, the API takes half of the descriptors
// that the server's public connections leave, and the store, log files and connections to
// other nodes have the other half.
func (t *connTable) init(configured, public int) {
	t.rejected = make(map[*conn]struct{})
	t.limit = configured
	if configured == 0 {
		t.limit = maxConnections
		if n := limit.OpenFiles(); n > 0 && (n-public)/2 < maxConnections {
			t.limit, t.descriptors = max((n-public)/2, minConnections), n
		}
	}
	cause := ""
	if t.descriptors > 0 {
		cause = problemf(0, "", "; the limit follows from the descriptor limit of the server, which is %d", t.descriptors).Message
	}
	t.full = problemf(503, "too_many_connections", "all %d connections of the API have a request in progress; send fewer requests at a time%s", t.limit, cause)
}

// add gives a new connection a place, and reports whether there is one. If victim is not nil,
// its place was taken, and the caller closes it.
func (t *connTable) add(c *conn) (victim *conn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := t.anonymous.Len(); {
	case n+t.authorized.Len() < t.limit && n < max(t.limit/2, 1):
	case n > 0:
		victim = t.anonymous.Front().Value.(*conn)
	default:
		if victim = t.idleLocked(); victim == nil {
			return nil, false
		}
	}
	if victim != nil {
		t.removeLocked(victim)
	}
	c.place, c.state = t.anonymous.PushBack(c), fasthttp.StateNew
	return victim, true
}

// idleLocked returns the authorized connection that has been idle for longest.
func (t *connTable) idleLocked() *conn {
	for e := t.authorized.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.state != fasthttp.StateActive {
			return c
		}
	}
	return nil
}

func (t *connTable) removeLocked(c *conn) {
	switch {
	case c.place == nil:
		return
	case c.authorized:
		t.authorized.Remove(c.place)
	default:
		t.anonymous.Remove(c.place)
	}
	c.place = nil
}

// markAuthorized notes that a request of the connection has been authorized.
func (t *connTable) markAuthorized(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.place == nil || c.authorized {
		return
	}
	t.anonymous.Remove(c.place)
	c.place, c.authorized = t.authorized.PushBack(c), true
}

// note stores the state of a connection, and reports whether the caller must close it because
// the API ends.
func (t *connTable) note(c *conn, state fasthttp.ConnState) (closeNow bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.state = state
	switch state {
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		t.removeLocked(c)
		return false
	case fasthttp.StateIdle:
		if c.authorized && c.place != nil {
			t.authorized.MoveToBack(c.place)
		}
	case fasthttp.StateActive:
		return false
	}
	return t.stopping
}

// reject registers a connection that is answered 503, and reports whether there is room for
// one more.
func (t *connTable) reject(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rejected) >= maxRejected || t.stopping {
		return false
	}
	t.rejected[c] = struct{}{}
	return true
}

func (t *connTable) rejectDone(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rejected, c)
}

// stop returns the connections without a request in progress, for the caller to close. From
// then on note reports each connection whose request has ended.
func (t *connTable) stop() (idle []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	for c := range t.rejected {
		idle = append(idle, c)
	}
	for c := range t.eachLocked {
		if c.state != fasthttp.StateActive {
			idle = append(idle, c)
		}
	}
	return idle
}

// all returns the open connections.
func (t *connTable) all() (open []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.eachLocked {
		open = append(open, c)
	}
	return open
}

func (t *connTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.anonymous.Len() + t.authorized.Len()
}

func (t *connTable) eachLocked(yield func(*conn) bool) {
	for _, l := range []*list.List{&t.anonymous, &t.authorized} {
		for e := l.Front(); e != nil; e = e.Next() {
			if !yield(e.Value.(*conn)) {
				return
			}
		}
	}
}
