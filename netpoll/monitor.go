package netpoll

import (
	"sync/atomic"
	"time"
)

// A handler that blocks must not stop the other connections. Once a tick the monitor
// checks that the workers make progress. If they are at the same batch as a tick ago and
// have claimed only a few connections each, most of them are blocked in a handler, and
// the monitor starts as many again, up to Config.Workers: the pool doubles within a tick,
// and shrinks by itself when the handlers return.
const (
	monitorTick = 5 * time.Millisecond
	idleTicks   = 200 // after so many without traffic the monitor sleeps, too
	// stuckItems is fewer than a worker claims in a tick unless it blocks: a turn takes
	// a few µs. A turn of 0.3 ms waits for something, or computes for so long that it
	// makes no difference to the other connections.
	stuckItems = 16
)

// monitorSleep lets the monitor sleep while the engine is idle, so that an idle server
// causes no wake-ups.
type monitorSleep struct {
	parked atomic.Bool
	wakeup chan struct{}
	quit   chan struct{}
}

func (w *monitorSleep) init() {
	w.wakeup = make(chan struct{}, 1)
	w.quit = make(chan struct{})
}

func (w *monitorSleep) stop() { close(w.quit) }

// wake wakes the monitor. The harvester calls it when it slept, after it cleared asleep.
// wake never waits for the monitor: a wake-up that is still in the channel will do.
func (w *monitorSleep) wake() {
	if w.parked.Load() && w.parked.CompareAndSwap(true, false) {
		select {
		case w.wakeup <- struct{}{}:
		default:
		}
	}
}

// park waits for traffic. The harvester clears asleep before it looks at parked; park
// sets parked before it looks at asleep. A wake-up that comes too late makes the next
// park return early, which does no harm.
func (w *monitorSleep) park(asleep *atomic.Bool) {
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
			case <-e.monitorSleep.quit:
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
				e.monitorSleep.park(&e.asleep)
				ticker.Reset(monitorTick)
				idle = 0
			}
		case word>>32 == before>>32 && int32(word-before) < stuckItems*e.workers.Load():
			idle = 0
			e.addWorkers()
		default:
			idle = 0
		}
	}
}

// missingWorkers returns how many workers to start when all that run are blocked: as many
// again, and not more than there is work for. Workers that wait for a processor since an
// earlier tick count, or else the pool of an overloaded machine would grow to its bound with
// nothing to do.
func (e *Engine) missingWorkers() int32 {
	return min(max(e.workers.Load(), 1), int32(e.batch.left())+1) - e.starting.Load()
}

func (e *Engine) addWorkers() {
	n := e.missingWorkers()
	if n <= 0 {
		return
	}
	started := false
	for range n {
		started = e.spawn(int32(e.maxWorkers)) || started
	}
	if started {
		e.stats.blocked.Add(1)
	} else {
		e.stats.saturated.Add(1)
	}
}
