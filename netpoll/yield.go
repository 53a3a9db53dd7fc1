package netpoll

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A connection that has more to do than a turn may take yields: its turn comes
// again when those that have just become ready had theirs. One that yielded is
// served at a time, and the poller asked before the next, so that however many
// senders want all they can get, the others wait for one turn of theirs, and not
// for one of each.

// yields are the connections that have yielded, the one that waits longest
// first.
type yields struct {
	n atomic.Int32 // how many

	mu    sync.Mutex
	out   []*Conn // from next on. guarded by mu
	next  int
	in    []*Conn       // behind those of out. guarded by mu
	since time.Duration // when the first came; the list was empty then. guarded by mu
}

func (y *yields) put(c *Conn, now func() time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.n.Add(1) == 1 {
		y.since = now()
	}
	y.in = append(y.in, c)
}

// take returns the next connection, nil if there is none.
func (y *yields) take() *Conn {
	if y.n.Load() == 0 {
		return nil
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.next == len(y.out) {
		if len(y.in) == 0 {
			return nil // another worker was quicker
		}
		y.out, y.in, y.next = y.in, y.out[:0], 0
	}
	c := y.out[y.next]
	y.out[y.next] = nil
	y.next++
	y.n.Add(-1)
	return c
}

// waited is for how long somebody has been waiting, whoever it was.
func (y *yields) waited(now time.Duration) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.n.Load() == 0 {
		return 0
	}
	return now - y.since
}

// yield puts a connection whose turn the caller holds behind the others. The
// caller is a worker: it goes on with the list if nobody else does.
func (e *Engine) yield(c *Conn, ready Readiness) {
	c.turn.move(moveYield, ready)
	e.stats.yielded.Add(1)
	e.yields.put(c, e.now)
	e.breathe()
}

// breathe lets what else runs in this process have a core, an HTTP server for one.
// The Go scheduler takes one away from workers that always find something to do
// after 10 ms only; and even if there is another it has nobody to ask its own
// poller for those that wait there, because the thread that did is often the one
// on which a worker woke. Gosched makes room, and wakes a thread if there is a core
// for it, which goes on to ask that poller.
func (e *Engine) breathe() {
	every := breathAlone
	if e.workers.Load() >= e.cores() {
		every = breathEvery
	}
	if now := e.stamp.Load(); now-e.breath.Load() > int64(every) {
		e.breath.Store(now)
		runtime.Gosched()
	}
}

const (
	// breathEvery is how long workers may keep all cores, or the thread on which
	// one of them woke. A look at what else there is takes some 5 µs.
	breathEvery = 200 * time.Microsecond
	// breathAlone is how often they look while there are cores that others can have.
	breathAlone = 5 * time.Millisecond
	// slept is how long it takes to ask the poller if that means waiting.
	slept = 20 * time.Microsecond
)

// harvested notes that the poller was asked, and when it answered.
func (e *Engine) harvested(asked, now time.Duration) {
	e.stamp.Store(int64(now))
	if now-asked > slept {
		e.breath.Store(int64(now + breathEvery - breathAlone)) // the next one is due soon
	}
}
