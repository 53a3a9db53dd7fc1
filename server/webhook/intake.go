package webhook

import (
	"sync"

	"fanfare/server"
)

// maxIntake bounds the events in memory, in bytes: about 50,000.
const maxIntake = 16 << 20

// intake is the buffer between the server and the recorder. It never waits.
type intake struct {
	kick chan struct{} // the recorder has something to do; buffered

	mu     sync.Mutex
	events []server.Event             // guarded by mu
	bytes  int                        // of events; guarded by mu
	lost   map[server.EventKind]int64 // dropped since the last take; guarded by mu
	closed bool                       // guarded by mu
}

// eventSize is about what an event takes in memory, without its strings.
const eventSize = 256

func sizeOf(e *server.Event) int {
	n := eventSize + len(e.User) + len(e.Topic) + len(e.Payload) + len(e.Reason)
	for _, t := range e.Topics {
		n += 16 + len(t)
	}
	return n
}

// put adds an event, or counts it as lost. It returns false if it is lost.
func (in *intake) put(e server.Event) bool {
	in.mu.Lock()
	n := sizeOf(&e)
	ok := in.bytes+n <= maxIntake && !in.closed
	if ok {
		in.events = append(in.events, e)
		in.bytes += n
	} else {
		if in.lost == nil {
			in.lost = make(map[server.EventKind]int64)
		}
		in.lost[e.Kind]++
	}
	in.mu.Unlock()
	in.wake()
	return ok
}

func (in *intake) wake() {
	select {
	case in.kick <- struct{}{}:
	default:
	}
}

// take returns what is in the buffer, and how many events were lost of each kind.
func (in *intake) take() (events []server.Event, lost map[server.EventKind]int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	events, lost = in.events, in.lost
	in.events, in.lost, in.bytes = nil, nil, 0
	return events, lost
}

func (in *intake) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
}
