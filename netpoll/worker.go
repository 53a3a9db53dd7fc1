package netpoll

import (
	"runtime"
	"sync/atomic"
	"time"
)

// The pool works by leader and followers. One worker polls, publishes a batch of ready
// connections (a harvest), and works on it together with the other awake workers. The
// first worker that finds the batch empty polls again; the others end. So a load that
// one core carries stays on one goroutine, which polls and handles in turn and hands
// nothing over.
//
// Two things start more workers. A worker does, up to one a core, when a batch overruns
// its budget, or connections that yielded have waited for that long. And the monitor
// does, up to Config.Workers, when no worker has made progress for a tick because
// handlers block.
const (
	batchBudget = time.Millisecond
	minBacklog  = 16 // fewer connections are not worth a second core
	checkEvery  = 16 // items between two looks at the clock
)

type worker struct {
	buf  *[]byte
	done int
}

// spawn starts a worker if fewer than limit run.
func (e *Engine) spawn(limit int32) bool {
	for n := e.workers.Load(); n < limit; n = e.workers.Load() {
		if e.workers.CompareAndSwap(n, n+1) {
			e.done.Add(1)
			e.starting.Add(1)
			go e.work()
			return true
		}
	}
	return false
}

func (e *Engine) work() {
	defer e.done.Done()
	e.starting.Add(-1)
	w := worker{buf: e.buffers.Get().(*[]byte)}
	for {
		for c := e.batch.claim(); c != nil; c = e.batch.claim() {
			e.serve(c, &w)
			if w.done++; w.done%checkEvery == 0 {
				e.checkOverrun()
			}
		}
		if !e.harvesting.CompareAndSwap(false, true) {
			// Another worker polls. It may sleep, though, and then this one is
			// the last to serve the connections that yielded.
			c := e.yielded.take()
			if c == nil {
				break
			}
			e.serve(c, &w)
			continue
		}
		if e.batch.left() > 0 { // another worker has just polled
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

// checkOverrun starts another worker when the batch overruns its budget and there may
// be a core for it.
func (e *Engine) checkOverrun() {
	e.goschedIfDue()
	if e.batch.left() < minBacklog || e.workers.Load() >= e.cores() {
		return
	}
	if e.now()-time.Duration(e.harvestedAt.Load()) > batchBudget && e.spawn(e.cores()) {
		e.stats.overrun.Add(1)
	}
}

// cores returns how many workers may run to share work, as opposed to replacing blocked
// ones.
func (e *Engine) cores() int32 { return int32(min(runtime.GOMAXPROCS(0), e.maxWorkers)) }

// harvest polls and publishes a batch. It returns false when the engine is closed and
// its last connection is gone.
func (e *Engine) harvest() bool {
	e.measureWait()
	// inject looks at asleep after it appended to the list. harvest sets asleep before
	// it looks at the list. So one of them sees the other.
	e.asleep.Store(true)
	n := e.takeInjected()
	if n > 0 {
		e.asleep.Store(false)
	} else if e.closing.Load() && e.table.count.Load() == 0 {
		return false
	}
	yielded := e.yielded.n.Load() > 0
	asked := e.now()
	got, err := e.poller.Wait(e.events[:batchSize-1-n], n == 0 && !yielded)
	if err != nil {
		panic("BUG: netpoll: the poller fails: " + err.Error())
	}
	e.asleep.Store(false)
	e.monitorSleep.wake()
	e.noteHarvest(asked, e.now())
	for _, ev := range e.events[:got] {
		if c := e.find(ev); c != nil {
			if _, ok := c.turn.move(moveReady, ev.Ready); ok {
				e.batch.items[n].Store(c)
				n++
			}
		}
	}
	if yielded {
		if c := e.yielded.take(); c != nil {
			e.batch.items[n].Store(c)
			n++
		}
		if e.workers.Load() < e.cores() && e.yielded.longestWait(e.now()) > batchBudget && e.spawn(e.cores()) {
			e.stats.overrun.Add(1)
		}
	}
	e.batch.publish(n)
	return true
}

// find returns the connection that an event is about, or nil if it is closed.
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

// inject queues a connection for a turn without an event of the poller.
func (e *Engine) inject(c *Conn) {
	e.mu.Lock()
	e.injected = append(e.injected, c)
	e.mu.Unlock()
	if e.asleep.Load() && e.asleep.CompareAndSwap(true, false) {
		e.poller.Wake()
	}
}

// takeInjected moves injected connections to the batch, up to half of it, and leaves the
// rest to the poller.
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
		e.injected = nil // free the memory of a burst
	} else {
		e.injected = e.injected[:0]
	}
	return n
}

// measureWait records how long the last batch took from the poller to its last
// connection's turn.
func (e *Engine) measureWait() {
	if length, _ := unpack(e.batch.word.Load()); length > 0 {
		e.stats.wait(e.now() - time.Duration(e.harvestedAt.Load()))
	}
}

// serve runs a connection's turn, and further turns while events arrive.
func (e *Engine) serve(c *Conn, w *worker) {
	ready, ok := c.turn.move(moveTake, 0)
	for ok {
		if !e.turn(c, w, ready) {
			return
		}
		c.settle()
		ready, ok = c.turn.move(moveGive, 0)
	}
}

// finish ends a turn that began outside of the pool. If events arrived meanwhile, or
// bytes are left over, it queues the connection for a worker.
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

// batchSize bounds the connections of one harvest. 256 small messages are about 2 ms of
// work, the longest that a new event should wait for the batch before it.
const batchSize = 256

// batch is a harvest that several workers empty together. One word holds its number
// (upper 32 bits), its length and the index of the next item (16 bits each), so a claim
// is one compare-and-swap, and a worker that slept through a whole batch cannot take an
// item out of the next one by mistake.
//
// Only the worker that holds the right to harvest may call publish, and only when the
// batch is empty.
type batch struct {
	word  atomic.Uint64
	items [batchSize]atomic.Pointer[Conn]
}

func unpack(word uint64) (length, next int) {
	return int(word >> 16 & 0xffff), int(word & 0xffff)
}

func (b *batch) publish(n int) {
	number := b.word.Load()>>32 + 1
	b.word.Store(number<<32 | uint64(n)<<16)
}

// claim takes the next connection. It returns nil when the batch is empty.
func (b *batch) claim() *Conn {
	for {
		word := b.word.Load()
		length, next := unpack(word)
		if next == length {
			return nil
		}
		c := b.items[next].Load()
		if b.word.CompareAndSwap(word, word+1) {
			return c
		}
	}
}

// left returns the number of unclaimed connections.
func (b *batch) left() int {
	length, next := unpack(b.word.Load())
	return length - next
}
