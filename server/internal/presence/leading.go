package presence

import (
	"math"
	"slices"
	"strings"
	"time"
)

// leading is what the leader knows.
type leading struct {
	n       *Node
	round   uint64
	members map[ID]*follower
	slots   uint32
	self    uint32 // slot of this node

	entries  map[Name]*entry
	arrivals []Name         // to be reported as present
	leaving  map[Name]*wait // to be reported as absent
	batch    []Change       // the next one, or the one that is being written
	writing  bool
}

// follower is another node, as the leader knows it.
type follower struct {
	slot    uint32        // in entry.holders
	heard   time.Duration // Node.clock
	seen    time.Time
	session uint64 // of the parts
	next    uint64 // number of the next part
	synced  bool   // all that the node held at the begin of the session has arrived
	round   uint64 // answered
}

// entry is a name that a node holds, or that was reported as present.
type entry struct {
	holders  []uint32      // slots of nodes
	left     time.Duration // Node.clock when the last holder left
	seen     time.Time     // when that was; zero: not known
	reported bool          // as present
	queued   bool          // in arrivals
	writing  bool          // in batch
}

// wait is a name whose grace period runs.
type wait struct {
	due   time.Duration // Node.clock
	round uint64        // that all members have to answer; 0: not due yet
}

func newLeading(n *Node, present []Name) *leading {
	l := &leading{n: n, members: make(map[ID]*follower), entries: make(map[Name]*entry, len(present)), leaving: make(map[Name]*wait)}
	for id, heard := range n.peers { // which are asked before anything is absent
		l.members[id] = &follower{slot: l.slot(), heard: heard, seen: n.wall}
	}
	l.self = l.slot()
	for _, name := range present {
		l.entries[name] = &entry{reported: true, left: n.clock}
	}
	for name := range n.held {
		l.hold(l.self, name, true)
	}
	for _, name := range present {
		l.review(name)
	}
	return l
}

// slot returns a number for a node, which no other node has had.
func (l *leading) slot() uint32 { l.slots++; return l.slots }

func (l *leading) grace(name Name) time.Duration {
	switch name.Kind() {
	case User, Member:
		return l.n.grace
	}
	return 0
}

// hold records that a node has begun or ceased to hold a name.
func (l *leading) hold(slot uint32, name Name, held bool) {
	e := l.entries[name]
	if e == nil {
		if !held {
			return
		}
		e = new(entry)
		l.entries[name] = e
	}
	i := slices.Index(e.holders, slot)
	switch {
	case held && i < 0:
		e.holders = append(e.holders, slot)
	case !held && i >= 0:
		e.holders = slices.Delete(e.holders, i, i+1)
		e.left, e.seen = l.n.clock, l.n.wall
	default:
		return
	}
	l.review(name)
}

// review decides what is to be reported of a name.
func (l *leading) review(name Name) {
	e := l.entries[name]
	switch held := len(e.holders) > 0; {
	case e.writing: // written calls review
	case held && e.reported:
		delete(l.leaving, name)
	case e.reported:
		if l.leaving[name] == nil {
			l.leaving[name] = &wait{due: e.left + l.grace(name)}
		}
	case held && !e.queued: // it is reported even if it is gone by then
		e.queued = true
		l.arrivals = append(l.arrivals, name)
	case !held && !e.queued:
		delete(l.entries, name)
	}
}

// left forgets a node that has ended.
func (l *leading) left(id ID) {
	if f := l.members[id]; f != nil {
		f.heard, f.seen = l.n.clock, l.n.wall
		l.drop(id)
	}
}

// drop forgets a node, which holds nothing any more.
func (l *leading) drop(id ID) {
	f := l.members[id]
	if f == nil {
		return
	}
	delete(l.members, id)
	l.release(f)
	if f.synced {
		return
	}
	for name, w := range l.leaving { // it may have held any of them until now
		e := l.entries[name]
		e.left = max(e.left, f.heard)
		w.due = e.left + l.grace(name)
	}
}

// release removes a node from the holders of all names. Their grace period begins when the
// node was heard of last.
func (l *leading) release(f *follower) {
	for name, e := range l.entries {
		if i := slices.Index(e.holders, f.slot); i >= 0 {
			e.holders = slices.Delete(e.holders, i, i+1)
			if f.heard >= e.left { // else another node has ceased to hold it later
				e.left, e.seen = f.heard, f.seen
			}
			l.review(name)
		}
	}
}

// receive handles a message to the leader.
func (l *leading) receive(from ID, m *Message) {
	f := l.members[from]
	if f == nil {
		f = &follower{slot: l.slot()}
		l.members[from] = f
	}
	f.heard, f.seen = l.n.clock, l.n.wall
	switch m.Kind {
	case Beat:
		switch {
		case m.Round == 0:
		case f.synced && m.Session == f.session:
			f.round = max(f.round, m.Round)
		case m.Session >= f.session:
			l.n.send(from, Message{Kind: Want, Term: l.n.term, Session: m.Session})
		}
	case Part:
		l.part(from, f, m)
	}
}

func (l *leading) part(from ID, f *follower, m *Message) {
	if m.Number == 0 && m.Session > f.session {
		if f.next > 0 { // what the new session does not name is not held any more
			l.release(f)
		}
		// Nothing is reported as absent until the new session has arrived: round 0 is not an answer.
		f.session, f.next, f.synced, f.round = m.Session, 0, false, 0
	}
	switch {
	case m.Session != f.session || m.Number > f.next:
		if m.Session >= f.session {
			l.n.send(from, Message{Kind: Want, Term: l.n.term, Session: m.Session})
		}
		return
	case m.Number == f.next:
		for _, it := range m.Items {
			l.hold(f.slot, it.Name, it.Held)
		}
		f.next++
		f.synced = f.synced || m.Last
	}
	l.n.send(from, Message{Kind: Ack, Term: l.n.term, Session: m.Session, Number: m.Number})
}

// tick is called with each tick, after the clock was advanced.
func (l *leading) tick() {
	for id, f := range l.members {
		if l.n.clock-f.heard > Lease {
			l.drop(id)
		}
	}
	l.round++
	if !l.writing {
		l.depart()
	}
}

// answered returns the highest round that all members have answered.
func (l *leading) answered() uint64 {
	least := uint64(math.MaxUint64)
	for _, f := range l.members {
		least = min(least, f.round)
	}
	return least
}

// write adds what has become present to the batch and has it written, unless one is being
// written.
func (l *leading) write() {
	for len(l.arrivals) > 0 && len(l.batch) < maxBatch {
		name := l.arrivals[0]
		l.arrivals = l.arrivals[1:]
		e := l.entries[name]
		e.queued = false
		l.add(e, Change{Name: name, Present: true})
	}
	if len(l.arrivals) == 0 {
		l.arrivals = nil // releases the memory
	}
	l.writing = len(l.batch) > 0
	l.n.effects.Write = l.batch
}

// depart adds what has become absent to the batch.
func (l *leading) depart() {
	answered := l.answered()
	for name, w := range l.leaving {
		switch {
		case w.due > l.n.clock || len(l.batch) == maxBatch:
		case w.round == 0:
			w.round = l.round + 1 // the next that begins
		case w.round <= answered:
			delete(l.leaving, name)
			e := l.entries[name]
			l.add(e, Change{Name: name, LastSeen: e.seen})
		}
	}
	slices.SortFunc(l.batch, func(a, b Change) int { return strings.Compare(string(a.Name), string(b.Name)) })
}

func (l *leading) add(e *entry, c Change) {
	e.writing = true
	l.batch = append(l.batch, c)
}

// written is called when the batch was written and reported.
func (l *leading) written() {
	batch := l.batch
	l.batch, l.writing = nil, false
	for _, c := range batch {
		e := l.entries[c.Name]
		e.writing, e.reported = false, c.Present
		l.review(c.Name)
	}
}
