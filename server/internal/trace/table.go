package trace

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/node"
)

const (
	// MaxTraces bounds the traces of a process.
	MaxTraces = 16
	// Lease is how long a trace lives without a poll.
	Lease = 10 * time.Second
	// MaxPayload bounds the payload of an event.
	MaxPayload = 16 << 10

	// maxEvents and maxCost bound what a trace keeps, and batchCost what one poll returns.
	maxEvents = 4096
	maxCost   = 1 << 20
	batchCost = 256 << 10
	// idDigits is the length of an ID.
	idDigits = 16
)

// ErrFull: MaxTraces traces are running.
var ErrFull = errors.New("too many traces are running")

// NewID returns the ID of a new trace.
func NewID() string { return fmt.Sprintf("%0*x", idDigits, rand.Uint64()) }

// CheckID returns what is wrong with an ID.
func CheckID(id string) error {
	if n, err := strconv.ParseUint(id, 16, 64); err != nil || fmt.Sprintf("%0*x", idDigits, n) != id {
		return fmt.Errorf("invalid ID %.40q of a trace", id)
	}
	return nil
}

// Batch is events of one process, the oldest first.
type Batch struct {
	Source string            `json:"source"` // names the process
	Node   string            `json:"node,omitzero"`
	Last   uint64            `json:"last"` // of the events; the caller has seen them from then on
	Lost   uint64            `json:"lost,omitzero"`
	Forgot bool              `json:"forgot,omitzero"` // the trace had ended, and has begun anew
	More   bool              `json:"more,omitzero"`   // further events follow at once
	Events []node.TraceEvent `json:"events,omitzero"`
}

// Table has the traces of a process.
type Table struct {
	source string // immutable

	users atomic.Pointer[map[string][]*Log] // nil: no trace runs; what it points at is immutable

	mu   sync.Mutex
	byID map[string]*Log // guarded by mu
}

// NewTable returns a table without traces.
func NewTable() *Table {
	return &Table{source: NewID(), byID: make(map[string]*Log)}
}

// Running reports whether a trace runs.
func (t *Table) Running() bool { return t.users.Load() != nil }

// Of returns the traces of a user.
func (t *Table) Of(user string) []*Log {
	users := t.users.Load()
	if users == nil {
		return nil
	}
	return (*users)[user]
}

// Poll starts a trace unless it runs, and returns its events after those that were seen, by
// Batch.Source. now is the time since any start.
func (t *Table) Poll(id, user string, payload bool, seen map[string]uint64, now time.Duration) (*Batch, error) {
	t.mu.Lock()
	l := t.byID[id]
	if l == nil {
		if len(t.byID) >= MaxTraces {
			t.mu.Unlock()
			return nil, fmt.Errorf("%w: %d", ErrFull, MaxTraces)
		}
		// Numbers of events begin at the time in ns, so that they are greater than those of a
		// trace with the same ID that has ended.
		l = &Log{user: user, Payload: payload, begin: uint64(now), first: uint64(now) + 1}
		t.byID[id] = l
		t.publish()
	}
	l.polled = now
	t.mu.Unlock()
	b := l.read(seen[t.source])
	b.Source = t.source
	return b, nil
}

// End ends a trace. One that does not run is not an error.
func (t *Table) End(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[id] != nil {
		delete(t.byID, id)
		t.publish()
	}
}

// Sweep ends traces that are not polled any more.
func (t *Table) Sweep(now time.Duration) {
	if !t.Running() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.byID)
	maps.DeleteFunc(t.byID, func(_ string, l *Log) bool { return now-l.polled > Lease })
	if len(t.byID) != before {
		t.publish()
	}
}

// publish makes users of byID. The caller holds mu.
func (t *Table) publish() {
	if len(t.byID) == 0 {
		t.users.Store(nil)
		return
	}
	users := make(map[string][]*Log, len(t.byID))
	for _, l := range t.byID {
		users[l.user] = append(users[l.user], l)
	}
	t.users.Store(&users)
}

// Log has the events of one trace.
type Log struct {
	user    string        // immutable
	Payload bool          // events have payloads; immutable
	begin   uint64        // number before the first event of all; immutable
	polled  time.Duration // guarded by Table.mu

	mu     sync.Mutex
	events []node.TraceEvent // guarded by mu, as all below
	first  uint64            // number of events[0], or of the next event
	cost   int
}

// costOf returns about what an event takes, in bytes.
func costOf(e *node.TraceEvent) int {
	n := 300 + len(e.Session) + len(e.Endpoint) + len(e.Topic) + len(e.RemoteAddr) + len(e.Reason) + len(e.Base64)*4/3
	if e.Text != nil {
		n += len(*e.Text)
	}
	for _, topic := range e.Topics {
		n += 16 + len(topic)
	}
	return n
}

// Add adds an event. If there are too many, the oldest ones make room.
func (l *Log) Add(e node.TraceEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	l.cost += costOf(&e)
	for len(l.events) > maxEvents || l.cost > maxCost && len(l.events) > 1 {
		l.discard(1)
	}
}

// discard removes the n oldest events. The caller holds mu.
func (l *Log) discard(n int) {
	for i := range l.events[:n] {
		l.cost -= costOf(&l.events[i])
	}
	clear(l.events[:n])
	l.events = l.events[n:]
	l.first += uint64(n)
}

// read returns events after the number seen, 0 for all.
func (l *Log) read(seen uint64) *Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := new(Batch)
	switch {
	case seen == 0:
		seen = l.begin
	case seen < l.begin:
		seen, b.Forgot = l.begin, true
	}
	if last := l.first + uint64(len(l.events)) - 1; seen > last {
		seen = last // of another history: nothing is skipped from here on
	}
	if seen >= l.first {
		l.discard(int(seen - l.first + 1))
	}
	b.Lost = l.first - seen - 1
	cost := 0
	for i := range l.events {
		if cost += costOf(&l.events[i]); cost > batchCost && i > 0 {
			b.More = true
			break
		}
		b.Events = append(b.Events, l.events[i])
	}
	b.Last = l.first + uint64(len(b.Events)) - 1
	b.Events = slices.Clip(b.Events)
	return b
}
