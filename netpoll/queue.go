package netpoll

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Policy says what happens to a message when the outbound queue is full.
type Policy uint8

const (
	// Control is for the protocol's own small frames. They are never dropped and may
	// exceed the bound by 4 KiB. Beyond that Write returns Full, because a peer that
	// provokes answers and reads none is hostile.
	Control Policy = iota
	// CloseOnFull is for messages that must not be lost silently: if one does not fit,
	// Write returns Full and the caller ends the connection.
	CloseOnFull
	// DropOldest is for messages that lose their value: the oldest of them make room.
	DropOldest
)

const (
	controlSlack = 4 << 10 // 32 answers to pings of the largest size
	ownSize      = 4 << 10 // first storage for copies in a queue
	ownKeep      = 64 << 10
	entryCost    = 32 // bytes of an entry itself, so that small messages count what they cost
)

// queue holds what could not be written yet, by reference where the bytes are shared. A
// queue exists only while it is needed; an idle connection has none.
type queue struct {
	entries []entry
	head    int           // index of the first entry that is not wholly written
	off     int           // bytes of that entry that are written
	size    int           // unsent bytes of all entries; changed by resize
	own     []byte        // storage of the entries that are copies
	busy    bool          // a goroutine writes the head entry outside of the lock
	total   *atomic.Int64 // the sum of the sizes of many queues; nil in tests

	// Of messages with a Key; see conflate.go.
	keyed *index // nil: none
	base  int    // entries that compact has removed from the front

	// Of a connection with a layer; see layer.go. Sealed bytes precede the entries.
	wire         []byte  // sealed bytes that the socket has not accepted; changed by setWire
	wireBuf      *[]byte // their buffer; nil: none
	wireMessages int     // messages that end in wire
}

type entry struct {
	b        []byte
	slot     uint32 // in keyed; 0: no key
	messages uint16 // in b: small copies share an entry
	policy   Policy
}

var queues = sync.Pool{New: func() any { return new(queue) }}

// resize changes size by n, which may be negative.
func (q *queue) resize(n int) {
	q.size += n
	q.count(n)
}

// count changes total by n.
func (q *queue) count(n int) {
	if q.total != nil {
		q.total.Add(int64(n))
	}
}

func (q *queue) empty() bool { return q.head == len(q.entries) && len(q.wire) == 0 }

// unsent returns how many bytes the socket has not accepted.
func (q *queue) unsent() int { return q.size + len(q.wire) }

// cost returns what counts against the bound: the bytes, and the entries that hold them,
// with their keys.
func (q *queue) cost() int {
	return q.unsent() + entryCost*(len(q.entries)-q.head) + keyedCost*q.keys()
}

// begun returns the index of the first entry of which nothing is on the wire, so that
// it can still be dropped: the head entry, or the one after it.
func (q *queue) begun() int {
	if (q.off > 0 || q.busy) && q.head < len(q.entries) {
		return q.head + 1
	}
	return q.head
}

// firstWaits reports whether the entry i is the first that waits. The entry that a goroutine
// writes does not wait: the peer may have all of it already, and may have sent the request
// whose answer comes next.
func (q *queue) firstWaits(i int) bool {
	if q.busy {
		i--
	}
	return i == q.head && len(q.wire) == 0
}

// makeRoom decides what happens to a message of n bytes in a queue that may cost limit:
// whether it is accepted, and how many older messages were dropped for it. A queue in which
// nothing waits accepts any message, because otherwise a long one would never fit. Nothing
// is dropped unless that makes enough room.
func (q *queue) makeRoom(n, limit int, p Policy) (ok bool, dropped int) {
	over := q.cost() + n + entryCost - limit
	switch {
	case over <= 0 || q.firstWaits(len(q.entries)):
		return true, 0
	case p == Control:
		return over <= controlSlack, 0
	case p == CloseOnFull:
		return false, 0
	}
	first := q.begun()
	for _, e := range q.entries[first:] {
		if e.policy == DropOldest {
			dropped++
			if over -= len(e.b) + entryCost; over <= 0 {
				q.dropOldest(first, dropped)
				return true, dropped
			}
		}
	}
	return false, 0
}

// dropOldest drops the first n messages with the policy DropOldest, from the entry first
// on.
func (q *queue) dropOldest(first, n int) {
	run := q.entries[first : first+n]
	if !slices.ContainsFunc(run, func(e entry) bool { return e.policy != DropOldest }) {
		q.dropRun(first, run)
		return
	}
	keep := q.entries[:first]
	for _, e := range q.entries[first:] {
		if n > 0 && e.policy == DropOldest {
			q.resize(-len(e.b))
			q.forget(e)
			n--
			continue
		}
		q.moved(e, len(keep))
		keep = append(keep, e)
	}
	clear(q.entries[len(keep):])
	q.entries = keep
}

// dropRun drops consecutive entries, the first that have not begun. Every broadcast does
// so to every peer that reads nothing, so the hundreds of entries that stay are not moved.
func (q *queue) dropRun(first int, run []entry) {
	for _, e := range run {
		q.resize(-len(e.b))
		q.forget(e)
	}
	if first > q.head {
		q.moved(q.entries[q.head], q.head+len(run))
		q.entries[q.head+len(run)] = q.entries[q.head]
	}
	clear(q.entries[q.head : q.head+len(run)])
	q.head += len(run)
	// Compact at a quarter of what stays, and not at as much as in sent: this queue
	// does not get shorter.
	if q.head > 32 && q.head*5 > len(q.entries) {
		q.compact()
	}
}

// compact moves the entries to the front of their storage.
func (q *queue) compact() {
	n := copy(q.entries, q.entries[q.head:])
	clear(q.entries[n:])
	q.base += q.head
	q.entries, q.head = q.entries[:n], 0
}

// push appends a message. Borrowed bytes are copied.
func (q *queue) push(b []byte, p Policy, borrowed bool) {
	if len(b) == 0 {
		return
	}
	q.resize(len(b))
	if !borrowed {
		q.entries = append(q.entries, entry{b: b, policy: p, messages: 1})
		return
	}
	if q.empty() {
		q.own = q.own[:0] // nothing refers to it
	}
	if cap(q.own)-len(q.own) < len(b) {
		// Allocate new storage; entries keep the old one alive until they are sent.
		// Growing the old one would copy, and keep, what was sent long ago.
		q.own = make([]byte, 0, max(ownSize, min(2*cap(q.own), ownKeep), len(b)))
	}
	start := len(q.own)
	q.own = append(q.own, b...)
	if last := len(q.entries) - 1; last >= q.head && p != DropOldest && q.entries[last].shares(p) && follows(q.entries[last].b, q.own, start) {
		e := &q.entries[last]
		e.b = q.own[start-len(e.b) : len(q.own) : len(q.own)]
		e.messages++
		return
	}
	q.entries = append(q.entries, entry{b: q.own[start:len(q.own):len(q.own)], policy: p, messages: 1})
}

// shares reports whether another small message may share the entry.
func (e *entry) shares(p Policy) bool { return e.policy == p && e.messages < math.MaxUint16 }

// follows reports whether b lies in own directly before start, so that one entry, and one
// element of a writev, can hold both.
func follows(b, own []byte, start int) bool {
	return len(b) <= start && &b[len(b)-1] == &own[start-1]
}

// messages returns how many messages are in the queue. Of small messages that share the
// head entry it counts also those that are sent already.
func (q *queue) messages() (n int) {
	for _, e := range q.entries[q.head:] {
		n += int(e.messages)
	}
	return n + q.wireMessages
}

// discard drops every entry that has not begun.
func (q *queue) discard() (dropped int) {
	keep := q.begun()
	for _, e := range q.entries[keep:] {
		q.resize(-len(e.b))
		q.forget(e)
		dropped += int(e.messages)
	}
	clear(q.entries[keep:])
	q.entries = q.entries[:keep]
	return dropped
}

// discardMessages is discard for all policies but Control: later frames may depend on
// what was sent as Control, as the answer to a handshake comes before the first frame.
func (q *queue) discardMessages() (dropped int) {
	keep := q.entries[:q.begun()]
	for _, e := range q.entries[len(keep):] {
		if e.policy == Control { // has no key
			keep = append(keep, e)
			continue
		}
		q.resize(-len(e.b))
		q.forget(e)
		dropped += int(e.messages)
	}
	clear(q.entries[len(keep):])
	q.entries = keep
	return dropped
}

// sent removes n bytes from the front, and returns how many messages end in them.
func (q *queue) sent(n int) (messages int) {
	q.resize(-n)
	n += q.off
	for q.head < len(q.entries) && n >= len(q.entries[q.head].b) {
		n -= len(q.entries[q.head].b)
		messages += int(q.entries[q.head].messages)
		q.forget(q.entries[q.head])
		q.entries[q.head] = entry{}
		q.head++
	}
	q.off = n
	if q.head > 32 && q.head*2 > len(q.entries) {
		q.compact()
	}
	return messages
}

// first returns the unsent bytes of the head entry.
func (q *queue) first() []byte { return q.entries[q.head].b[q.off:] }

// front appends the unsent bytes to dst, at most max pieces.
func (q *queue) front(dst [][]byte, max int) [][]byte {
	for i := q.head; i < len(q.entries) && len(dst) < max; i++ {
		b := q.entries[i].b
		if i == q.head {
			b = b[q.off:]
		}
		dst = append(dst, b)
	}
	return dst
}

// free returns the queue to its pool.
func (q *queue) free() {
	q.resize(-q.size)
	q.freeWire()
	clear(q.entries)
	own := q.own[:0]
	if cap(own) > ownKeep {
		own = nil
	}
	entries := q.entries[:0]
	if cap(entries) > 1024 {
		entries = nil
	}
	*q = queue{entries: entries, own: own}
	queues.Put(q)
}
