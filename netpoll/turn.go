package netpoll

import "sync/atomic"

// A turn is the right to read from a connection and to call its Handler. At most one
// goroutine holds it. It changes by this state machine:
//
//	        ready                take               ready
//	idle ----------> queued ------------> running ----------> again
//	  ^                                    |   ^                |
//	  |               give                 |   |      give      |
//	  +------------------------------------+   +----------------+
//	                                       |
//	                                       | end
//	                                       v
//	                                     closed
//
// ready is an event of the poller, or a request from elsewhere: a close. Its Readiness
// is gathered in the upper bits until a worker takes them, so that no event is lost
// while the turn is held. In the states queued and again, ready only adds bits; in
// closed it does nothing. take, give, yield (from running or again to queued, so that
// other connections come first) and end belong to the holder.
type turn struct{ word atomic.Uint32 }

const (
	turnIdle uint32 = iota
	turnQueued
	turnRunning
	turnAgain
	turnClosed

	turnMask   = 7 // the state; the bits above it are a Readiness
	turnShift  = 3
	turnNoBits = 0
)

type move uint8

const (
	moveReady move = iota
	moveTake
	moveGive
	moveYield
	moveEnd
)

// step is the state machine: from a word, by a move, to the next word. ok tells the
// caller what to do: to queue the connection (ready, yield), to run its turn (take), or
// to run it once more (give).
func step(word uint32, m move, bits Readiness) (next uint32, ok bool) {
	state, pending := word&turnMask, word&^turnMask
	switch {
	case state == turnClosed:
		return turnClosed, false
	case m == moveReady && state == turnIdle:
		return turnQueued | pending | uint32(bits)<<turnShift, true
	case m == moveReady && state == turnRunning:
		return turnAgain | pending | uint32(bits)<<turnShift, false
	case m == moveReady:
		return word | uint32(bits)<<turnShift, false
	case m == moveTake && state == turnQueued:
		return turnRunning | turnNoBits, true
	case m == moveGive && state == turnRunning:
		return turnIdle | pending, false
	case m == moveGive && state == turnAgain:
		return turnRunning | turnNoBits, true
	case m == moveYield && (state == turnRunning || state == turnAgain):
		return turnQueued | pending | uint32(bits)<<turnShift, true
	case m == moveEnd && (state == turnRunning || state == turnAgain):
		return turnClosed, true
	}
	panic("BUG: netpoll: a goroutine moved a turn that it does not hold")
}

// move makes one step. It returns what the connection was ready for before the step; a
// caller that takes the turn must act on that.
func (t *turn) move(m move, bits Readiness) (ready Readiness, ok bool) {
	for {
		word := t.word.Load()
		next, ok := step(word, m, bits)
		if next == word || t.word.CompareAndSwap(word, next) {
			return Readiness(word >> turnShift), ok
		}
	}
}

// acquire takes the turn of a connection that is idle.
func (t *turn) acquire() bool {
	for {
		word := t.word.Load()
		if word&turnMask != turnIdle {
			return false
		}
		if t.word.CompareAndSwap(word, turnRunning|word&^turnMask) {
			return true
		}
	}
}

// pending reports whether the turn is queued, or held.
func (t *turn) pending() bool {
	switch t.word.Load() & turnMask {
	case turnQueued, turnRunning, turnAgain:
		return true
	}
	return false
}

// hold gives the caller the turn of a connection that no other goroutine uses yet.
func (t *turn) hold() { t.word.Store(turnRunning) }
