package netpoll

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A connection that has more work than fits a turn yields: its next turn comes after
// those of the connections that have just become ready. The engine serves one such
// connection at a time and polls before the next, so that however many senders take all
// they can get, the others wait for one turn of one of them, and not for one of each.

// yieldQueue holds the connections that have yielded, the oldest first.
type yieldQueue struct {
	n atomic.Int32 // length

	mu    sync.Mutex
	out   []*Conn // from next on. guarded by mu
	next  int
	in    []*Conn       // after those of out. guarded by mu
	since time.Duration // when the queue was empty last. guarded by mu
}

func (y *yieldQueue) put(c *Conn, now func() time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.n.Add(1) == 1 {
		y.since = now()
	}
	y.in = append(y.in, c)
}

// take returns the next connection, or nil if there is none.
func (y *yieldQueue) take() *Conn {
	if y.n.Load() == 0 {
		return nil
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.next == len(y.out) {
		if len(y.in) == 0 {
			return nil // another worker took it
		}
		y.out, y.in, y.next = y.in, y.out[:0], 0
	}
	c := y.out[y.next]
	y.out[y.next] = nil
	y.next++
	y.n.Add(-1)
	return c
}

// longestWait returns for how long the queue has not been empty.
func (y *yieldQueue) longestWait(now time.Duration) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.n.Load() == 0 {
		return 0
	}
	return now - y.since
}

// yield puts a connection whose turn the caller holds into the queue. The caller is a
// worker, and serves the queue if no other worker does.
func (e *Engine) yield(c *Conn, ready Readiness) {
	c.turn.move(moveYield, ready)
	e.stats.yielded.Add(1)
	e.yielded.put(c, e.now)
	e.goschedIfDue()
}

// goschedIfDue lets the other goroutines of the process run, for example an HTTP
// server. The Go scheduler preempts a worker that always has work only after 10 ms. And
// even if a core is free no thread may ask the runtime's own poller, because the thread
// that did so often became the one that runs a worker. Gosched makes room, and wakes a
// thread if there is a core for it, which then asks that poller.
func (e *Engine) goschedIfDue() {
	every := goschedIdle
	if e.workers.Load() >= e.cores() {
		every = goschedBusy
	}
	if now := e.harvestedAt.Load(); now-e.lastGosched.Load() > int64(every) {
		e.lastGosched.Store(now)
		runtime.Gosched()
	}
}

const (
	// goschedBusy is how long workers may keep all cores, or the thread on which one of
	// them woke. A Gosched takes about 5 µs.
	goschedBusy = 200 * time.Microsecond
	// goschedIdle is how often they call Gosched while other cores are free.
	goschedIdle = 5 * time.Millisecond
	// slept is how long a poll takes at least if it had to wait.
	slept = 20 * time.Microsecond
)

// noteHarvest records when the poller was asked and when it answered.
func (e *Engine) noteHarvest(asked, now time.Duration) {
	e.harvestedAt.Store(int64(now))
	if now-asked > slept {
		e.lastGosched.Store(int64(now + goschedBusy - goschedIdle)) // the next Gosched is due soon
	}
}
