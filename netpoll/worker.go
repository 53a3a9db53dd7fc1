package netpoll

import (
	"runtime"
	"time"
)

// The pool works by leader and followers. One worker polls, publishes what it
// harvested, and works on it together with whoever else is awake; the first that
// finds nothing left polls again, the others end. So a load that one core
// carries stays on one goroutine: it polls, handles, polls, handles, and hands
// nothing over.
//
// A second worker is started by the first that falls behind (a batch took
// longer than behind and is not done, or connections that have yielded have
// waited for so long), up to one a core; and by the monitor when nothing has moved
// for a tick, because handlers block, up to Workers.
const (
	behind      = time.Millisecond
	behindItems = 16 // a shorter rest is not worth a second core
	checkEvery  = 16 // items between two looks at the clock
)

type worker struct {
	buf  *[]byte
	done int
}

// spawn starts a worker if fewer than limit are running.
func (e *Engine) spawn(limit int32) bool {
	for n := e.workers.Load(); n < limit; n = e.workers.Load() {
		if e.workers.CompareAndSwap(n, n+1) {
			e.done.Add(1)
			go e.work()
			return true
		}
	}
	return false
}

func (e *Engine) work() {
	defer e.done.Done()
	w := worker{buf: e.buffers.Get().(*[]byte)}
	for {
		for c := e.batch.claim(); c != nil; c = e.batch.claim() {
			e.serve(c, &w)
			if w.done++; w.done%checkEvery == 0 {
				e.checkBehind()
			}
		}
		if !e.harvesting.CompareAndSwap(false, true) {
			// Another one polls, and will find more than us. It may sleep,
			// though, with nobody awake to serve those that yielded.
			c := e.yields.take()
			if c == nil {
				break
			}
			e.serve(c, &w)
			continue
		}
		if e.batch.left() > 0 { // it has just done so
			e.harvesting.Store(false)
			continue
		}
		more := e.harvest()
		e.harvesting.Store(false)
		if !more {
			break
		}
	}
	if w.buf != nil {
		e.buffers.Put(w.buf)
	}
	e.workers.Add(-1)
}

// checkBehind starts another worker when the batch keeps us for too long and
// there may be a core for it.
func (e *Engine) checkBehind() {
	e.breathe()
	if e.batch.left() < behindItems || e.workers.Load() >= e.cores() {
		return
	}
	if e.now()-time.Duration(e.stamp.Load()) > behind && e.spawn(e.cores()) {
		e.stats.behind.Add(1)
	}
}

// cores is how many workers may run because there is work, rather than because
// others are blocked.
func (e *Engine) cores() int32 { return int32(min(runtime.GOMAXPROCS(0), e.maxWorkers)) }

// harvest polls and publishes a batch. It reports false when the engine is
// closed and the last connection gone.
func (e *Engine) harvest() bool {
	e.measureWait()
	// Whoever injects looks at asleep after it has appended; we look at the list
	// after we have set it; so one of us sees the other.
	e.asleep.Store(true)
	n := e.takeInjected()
	if n > 0 {
		e.asleep.Store(false)
	} else if e.closing.Load() && e.table.count.Load() == 0 {
		return false
	}
	yielded := e.yields.n.Load() > 0
	asked := e.now()
	got, err := e.poller.Wait(e.events[:batchSize-1-n], n == 0 && !yielded)
	if err != nil {
		panic("BUG: netpoll: the poller fails: " + err.Error())
	}
	e.asleep.Store(false)
	e.watch.awake()
	e.harvested(asked, e.now())
	for _, ev := range e.events[:got] {
		if c := e.find(ev); c != nil {
			if _, ok := c.turn.move(moveReady, ev.Ready); ok {
				e.batch.items[n].Store(c)
				n++
			}
		}
	}
	if yielded {
		if c := e.yields.take(); c != nil {
			e.batch.items[n].Store(c)
			n++
		}
		if e.workers.Load() < e.cores() && e.yields.waited(e.now()) > behind && e.spawn(e.cores()) {
			e.stats.behind.Add(1)
		}
	}
	e.batch.publish(n)
	return true
}

// find returns the connection that an event is about, nil if it is gone.
func (e *Engine) find(ev Event) *Conn {
	c := e.table.get(ev.FD)
	if c == nil || c.gen != ev.Gen {
		if ev.Gen != 0 {
			e.stats.stale.Add(1)
		}
		return nil
	}
	return c
}

// inject queues a connection whose turn was asked for outside of the poller.
func (e *Engine) inject(c *Conn) {
	e.mu.Lock()
	e.injected = append(e.injected, c)
	e.mu.Unlock()
	if e.asleep.Load() && e.asleep.CompareAndSwap(true, false) {
		e.poller.Wake()
	}
}

// takeInjected moves injected connections to the batch and leaves at least half
// of it to the poller.
func (e *Engine) takeInjected() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.injected), batchSize/2)
	for i, c := range e.injected[:n] {
		e.batch.items[i].Store(c)
	}
	clear(e.injected[:n])
	if n < len(e.injected) {
		e.injected = e.injected[n:]
	} else if cap(e.injected) > 4*batchSize {
		e.injected = nil // a storm is over
	} else {
		e.injected = e.injected[:0]
	}
	return n
}

// measureWait records how long the last batch took from the poller to its last
// connection's turn.
func (e *Engine) measureWait() {
	if length, _ := unpack(e.batch.word.Load()); length > 0 {
		e.stats.wait(e.now() - time.Duration(e.stamp.Load()))
	}
}

// serve runs one connection's turn, and further ones while events come in.
func (e *Engine) serve(c *Conn, w *worker) {
	ready, ok := c.turn.move(moveTake, 0)
	for ok {
		if !e.turn(c, w, ready) {
			return
		}
		ready, ok = c.turn.move(moveGive, 0)
	}
}

// finish ends a turn that began outside of the pool: with what came in
// meanwhile as the first thing for a worker.
func (e *Engine) finish(c *Conn) {
	if c.has(flagCorked) {
		c.Uncork()
	}
	if c.has(flagReleased) {
		return // detached
	}
	if c.has(flagClosing) {
		c.release(nil)
		return
	}
	ready, ok := Readiness(0), c.has(flagLeftover)
	if !ok {
		ready, ok = c.turn.move(moveGive, 0)
	}
	if ok {
		c.turn.move(moveYield, ready)
		e.inject(c)
	}
}
