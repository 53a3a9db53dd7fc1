package replay

// state says whether a worker acts on a session. There is one worker at most,
// because only take leads to working and only from queued.
//
//	state      open     work     take      done   wait      retry    end
//	opening    queued+  opening  -         -      -         -        closed
//	idle       -        queued+  -         -      -         -        closed
//	queued     -        queued   working*  -      -         -        closed
//	working    -        working  -         idle   waiting+  -        closed
//	waiting    -        waiting  -         -      -         queued+  closed
//	closed     closed   closed   closed    closed closed    closed   closed
//
// + the session is appended to the queue, or to the list of waiting sessions.
// * the caller is the worker. - panics, as only a bug can lead there.
//
// Work that comes while a worker works needs no state of its own, and is not lost: the
// worker looks for work and leaves within one critical section (plan). Waiting ignores
// work: only the clock ends a pause. TestStep compares this table with the code.
type state uint8

const (
	opening state = iota // Open has not been called
	idle                 // there is nothing to do, or a pong is awaited
	queued               // in the queue of the workers
	working              // a worker reads the store for it
	waiting              // until a time: the store failed, or the queue is full
	closed               // not in the map; no event has an effect
)

type event uint8

const (
	evOpen  event = iota // the session is open
	evWork               // there is something for a worker to do
	evTake               // a worker takes the session from the queue
	evDone               // the worker found nothing to do
	evWait               // the worker cannot go on before some time has passed
	evRetry              // that time has passed
	evEnd                // the session ended, or needs no state any longer
)

// step is the machine. listed reports that the session must be entered in the list
// of its new state, or for take that the caller is the worker.
func step(s state, e event) (next state, listed bool) {
	switch {
	case s == closed || e == evEnd:
		return closed, false
	case s == opening && e == evOpen:
		return queued, true
	case s == idle && e == evWork:
		return queued, true
	case e == evWork:
		return s, false
	case s == queued && e == evTake:
		return working, true
	case s == working && e == evDone:
		return idle, false
	case s == working && e == evWait:
		return waiting, true
	case s == waiting && e == evRetry:
		return queued, true
	}
	panic("BUG: replay: event in a state that does not allow it")
}

func (s state) String() string {
	return [...]string{"opening", "idle", "queued", "working", "waiting", "closed"}[s]
}
