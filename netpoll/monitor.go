package netpoll

import (
	"sync/atomic"
	"time"
)

// A handler that blocks must not stop the others. The monitor looks once a tick
// whether the workers get on. If they are at the same batch as a tick ago, and
// have claimed only a few connections each, most of them are stuck in a handler,
// and it starts as many again, up to the bound: the pool doubles within a tick,
// and shrinks by itself when the handlers return.
const (
	monitorTick = 5 * time.Millisecond
	idleTicks   = 200 // without traffic for so long, the monitor sleeps too
	// A worker that gets on claims more than so many in a tick, for a turn takes
	// a few µs. One that takes 0.3 ms waits for something, or computes for so long
	// that it is all the same to the others.
	stuckItems = 16
)

// watch lets the monitor sleep while the engine is idle, so that an idle server
// costs no wake-ups.
type watch struct {
	parked atomic.Bool
	wakeup chan struct{}
	quit   chan struct{}
}

func (w *watch) init() {
	w.wakeup = make(chan struct{}, 1)
	w.quit = make(chan struct{})
}

func (w *watch) stop() { close(w.quit) }

// awake is called by the harvester when it slept, after it cleared asleep. It never
// waits for the monitor: a wake-up that is still in the channel is as good as another.
func (w *watch) awake() {
	if w.parked.Load() && w.parked.CompareAndSwap(true, false) {
		select {
		case w.wakeup <- struct{}{}:
		default:
		}
	}
}

// park waits for traffic. The harvester clears asleep before it looks at parked,
// park sets parked before it looks at asleep. A wake-up that came too late makes
// the next park return early, which does no harm.
func (w *watch) park(asleep *atomic.Bool) {
	w.parked.Store(true)
	if asleep.Load() {
		select {
		case <-w.wakeup:
		case <-w.quit:
		}
	}
	w.parked.Store(false)
}

func (e *Engine) monitor() {
	defer e.done.Done()
	ticker := time.NewTicker(monitorTick)
	defer ticker.Stop()
	var last uint64
	idle := 0
	for {
		closing := e.closing.Load()
		if closing {
			// Handlers may block while the engine closes: go on until the last
			// connection is gone.
			if e.table.count.Load() == 0 {
				return
			}
			<-ticker.C
		} else {
			select {
			case <-ticker.C:
			case <-e.watch.quit:
				continue
			}
		}
		word := e.batch.word.Load()
		before := last
		last = word
		switch {
		case e.asleep.Load():
			if idle++; word != before {
				idle = 0
			}
			if idle > idleTicks && !closing {
				ticker.Stop()
				e.watch.park(&e.asleep)
				ticker.Reset(monitorTick)
				idle = 0
			}
		case word>>32 == before>>32 && int32(word-before) < stuckItems*e.workers.Load():
			idle = 0
			e.relieve()
		default:
			idle = 0
		}
	}
}

// relieve starts as many workers as there are, for they are stuck.
func (e *Engine) relieve() {
	started := false
	for range min(max(e.workers.Load(), 1), int32(e.batch.left())+1) {
		started = e.spawn(int32(e.maxWorkers)) || started
	}
	if started {
		e.stats.blocked.Add(1)
	} else {
		e.stats.saturated.Add(1)
	}
}
