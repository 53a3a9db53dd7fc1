package presence

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// Node is the state of one node. It is not safe for concurrent use.
type Node struct {
	id    ID
	grace time.Duration // of users and members; other names have none

	clock    time.Duration        // advanced by Tick
	last     time.Duration        // of the process, at the last Tick
	wall     time.Time            // at the last Tick, for Change.LastSeen
	held     map[Name]struct{}    // by this node
	peers    map[ID]time.Duration // when another node was heard of
	gone     int                  // nodes that peers had, and has not any more
	beat     time.Duration        // when all were told of this node
	term     uint64               // the highest that was heard of
	leader   ID                   // of term; zero: not known
	led      time.Duration        // when the leader was heard of
	electing bool

	member  member
	lead    *leading // nil: this node does not lead
	effects Effects
}

// Effects are what a Node wants to be done, in this order.
type Effects struct {
	// Send has messages to other nodes. They may be lost.
	Send []Outgoing
	// Elect asks for an attempt to lead, whose end is told by Elected or Rejected.
	Elect bool
	// Write has changes to be written to the log and reported, whose end is told by Written.
	Write []Change
}

// Outgoing is a message to a node, or to all if To is zero.
type Outgoing struct {
	To ID
	Message
}

// New returns the state of a node that has just started: it leads at the earliest when it has
// not heard of a leader for Lease.
func New(id ID, grace time.Duration) *Node {
	return &Node{id: id, grace: grace, held: make(map[Name]struct{}), peers: make(map[ID]time.Duration), beat: -beatEvery}
}

// Take returns what is to be done since the last call.
func (n *Node) Take() (e Effects) {
	if n.lead != nil && !n.lead.writing {
		n.lead.write()
	}
	e, n.effects = n.effects, Effects{}
	return e
}

// Term returns the term that the node leads, 0 if it does not.
func (n *Node) Term() uint64 {
	if n.lead == nil {
		return 0
	}
	return n.term
}

// Leader returns the leader, zero if it is not known.
func (n *Node) Leader() ID { return n.leader }

// Gone returns how often another node has ended, or was silent for Lease.
func (n *Node) Gone() int { return n.gone }

func (n *Node) send(to ID, m Message) {
	n.effects.Send = append(n.effects.Send, Outgoing{to, m})
}

// Hold records that this node has begun or ceased to hold a name.
func (n *Node) Hold(name Name, held bool) {
	if _, was := n.held[name]; was == held {
		return
	}
	if held {
		n.held[name] = struct{}{}
	} else {
		delete(n.held, name)
	}
	switch {
	case n.lead != nil:
		n.lead.hold(n.lead.self, name, held)
	case n.leader != ID{}:
		n.member.changes = append(n.member.changes, Item{name, held})
	}
}

// Tick is called every TickEvery with the time since the start of the process, the time of
// day, and whether there is a connection to the others.
func (n *Node) Tick(since time.Duration, wall time.Time, connected bool) {
	step := min(max(since-n.last, 0), MaxStep)
	n.last, n.wall = since, wall
	if !connected {
		return
	}
	n.clock += step
	before := len(n.peers)
	maps.DeleteFunc(n.peers, func(_ ID, heard time.Duration) bool { return n.clock-heard > Lease })
	n.gone += before - len(n.peers)
	if n.lead != nil {
		n.lead.tick()
		n.send(ID{}, Message{Kind: Lead, Term: n.term, Round: n.lead.round})
		return
	}
	if n.clock-n.beat >= beatEvery || n.leader == (ID{}) { // the next leader must know this node
		n.beat = n.clock
		n.send(ID{}, n.member.answer(n.term))
	}
	if (n.leader != ID{}) && n.clock-n.led > Lease {
		n.follow(n.term, ID{})
	}
	if n.leader == (ID{}) {
		if !n.electing && n.clock-n.led > Lease+n.rank()*electStep {
			n.electing, n.effects.Elect = true, true
		}
		return
	}
	n.flush()
}

// rank returns how many live nodes come before this one.
func (n *Node) rank() (rank time.Duration) {
	for id := range n.peers {
		if bytes.Compare(id[:], n.id[:]) < 0 {
			rank++
		}
	}
	return rank
}

// follow makes a node the leader, or none. Another node than this one is sent what this one holds.
func (n *Node) follow(term uint64, leader ID) {
	n.term, n.leader, n.lead = term, leader, nil
	if leader == (ID{}) || leader == n.id {
		n.member.restart(nil)
	} else {
		n.member.restart(n.held)
	}
}

// Receive handles a message of another node.
func (n *Node) Receive(from ID, m *Message) {
	if from == n.id {
		return
	}
	if m.Kind == Bye {
		n.gone++
		delete(n.peers, from)
		if n.lead != nil {
			n.lead.left(from)
		}
		return
	}
	n.peers[from] = n.clock
	switch {
	case m.Kind == Lead && m.Term >= n.term && (n.lead == nil || m.Term > n.term):
		if m.Term > n.term || n.leader != from {
			n.follow(m.Term, from)
		}
		n.led = n.clock
		n.member.noteRound(m.Round)
		n.flush()
		n.send(from, n.member.answer(n.term))
	case m.Term != n.term:
	case m.Kind == Resign && n.leader == from:
		n.follow(n.term, ID{})
		n.led = n.clock - Lease
	case n.lead != nil:
		n.lead.receive(from, m)
	case n.leader != from:
	case m.Kind == Ack:
		if n.member.acknowledged(m) {
			n.flush()
			n.send(from, n.member.answer(n.term))
		}
	case m.Kind == Want && m.Session == n.member.session:
		n.member.restart(n.held)
		n.flush()
	}
}

// flush sends the next part to the leader, or the last one again.
func (n *Node) flush() {
	if m := n.member.next(n.clock); m != nil {
		m.Term = n.term
		n.send(n.leader, *m)
	}
}

// Elected says that this node leads a term, and which names are present according to the log.
func (n *Node) Elected(term uint64, present []Name) {
	n.electing = false
	if term <= n.term { // another node was elected in the meantime
		n.led = n.clock
		return
	}
	n.follow(term, n.id)
	n.lead = newLeading(n, present)
}

// Rejected says that the attempt to lead has failed. The next one follows soon, unless
// another node leads.
func (n *Node) Rejected() {
	n.electing = false
	n.led = max(n.led, n.clock-Lease+MaxStep)
}

// Written says whether the changes of Effects.Write were written and reported in a term. If
// not, another node leads, or the log cannot be reached.
func (n *Node) Written(term uint64, ok bool) {
	switch {
	case n.lead == nil || term != n.term:
	case ok:
		n.lead.written()
	default:
		n.send(ID{}, Message{Kind: Resign, Term: n.term})
		n.follow(n.term, ID{})
		n.led = n.clock - Lease + MaxStep
	}
}

// Leave ends the node: it holds nothing any more.
func (n *Node) Leave() {
	if n.lead != nil {
		n.send(ID{}, Message{Kind: Resign, Term: n.term})
	}
	n.send(ID{}, Message{Kind: Bye})
	n.follow(n.term, ID{})
	n.electing = true // it does not lead any more
}

// sortedNames returns names in an order that does not change from call to call.
func sortedNames(names map[Name]struct{}) []Name { return slices.Sorted(maps.Keys(names)) }
