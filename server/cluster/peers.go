package cluster

import (
	"encoding/binary"
	"math"
	"sync"
	"time"
)

const (
	// beatEvery is how often a node announces to the others that it lives and what it
	// holds. Without a beat for beatLost it counts as gone.
	beatEvery = time.Second
	beatLost  = 3500 * time.Millisecond
	// peerForgotten is how long a node that is gone is remembered: if it comes
	// back, it was partitioned, and what it sent in between was lost.
	peerForgotten = time.Hour
	// duplicateBeats of another node with this node's name show that it lives on. A
	// node that was killed and started again sees none of its predecessor.
	duplicateBeats = 3
	// clockAhead is how far another node's clock may be ahead of this node's. A beat
	// that is late can only hide a difference, so one beat is proof enough; of two
	// nodes, the one with the earlier time notices.
	clockAhead = 5 * time.Second
)

// beat is what a node sends to the others once a second, and when its interest
// changes.
type beat struct {
	// sequence counts the beats of a node. Where it jumps, beats were lost, and
	// perhaps commands.
	sequence uint64
	// generation counts the node's connections to NATS.
	generation uint64
	// repeats: the node has just started, and will repeat the stored commands that
	// it has sent for nodes that they did not reach.
	repeats bool
	name    string
	holds   bitmap
	clock   uint64 // of the node, Unix milliseconds; 0: of a version that does not send it
}

func (b *beat) append(to []byte) []byte {
	to = appendNumbers(to, b.sequence, b.generation)
	var flags byte
	if b.repeats {
		flags = 1
	}
	to = appendString(append(to, flags), b.name)
	return appendNumbers(append(to, b.holds[:]...), b.clock)
}

// decodeBeat ignores what follows the fields that it knows.
func decodeBeat(in []byte) (b beat, err error) {
	r := reader{b: in}
	b.sequence, b.generation = r.uvarint(), r.uvarint()
	b.repeats = r.byte()&1 != 0
	b.name = r.string()
	copy(b.holds[:], r.bytes(uint64(len(b.holds))))
	if len(r.b) > 0 {
		b.clock = r.uvarint()
	}
	if r.failed || !validName(b.name) {
		return beat{}, errTruncated
	}
	return b, nil
}

// peers are the other nodes, as their beats describe them.
type peers struct {
	self nodeID
	name string

	mu  sync.Mutex
	all map[nodeID]*peer // guarded by mu
}

type peer struct {
	beat
	heard      time.Time
	duplicates int  // beats with the name of this node
	ahead      bool // its clock is ahead, which has been reported

	// linked: a probe has shown that what the peer sends reaches this node. If it
	// has not, repeats says that the peer knows what did not arrive meanwhile.
	linked, repeats bool
	// silent: the peer did not answer the last probe in time.
	silent bool
	lost   bool // lost has returned it since its last beat
}

func (ps *peers) init(self nodeID, name string) {
	ps.self, ps.name = self, name
	ps.all = make(map[nodeID]*peer)
}

// news is what a beat says that was not known before.
type news struct {
	link      bool          // the node has to be linked
	isNew     bool          // the node is new, or was gone
	duplicate bool          // the node is known by now to have the name of this node
	ahead     time.Duration // how far the node's clock is ahead; 0: no more than clockAhead, or not new
}

// hear records a beat.
func (ps *peers) hear(id nodeID, b beat, now time.Time) (n news) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[id]
	switch {
	case p == nil:
		p = &peer{repeats: b.repeats}
		ps.all[id] = p
		n.isNew = true
	case now.Sub(p.heard) > beatLost || b.sequence != p.sequence+1 || b.generation != p.generation:
		p.linked, p.repeats = false, false
		n.isNew = now.Sub(p.heard) > beatLost
	}
	p.beat, p.heard, p.lost = b, now, false
	if b.name == ps.name {
		p.duplicates++
		n.duplicate = p.duplicates == duplicateBeats
	}
	was := p.ahead
	ahead := b.ahead(now)
	if p.ahead = ahead > clockAhead; p.ahead && !was {
		n.ahead = ahead
	}
	n.link = !p.linked
	return n
}

// ahead returns how far the clock of the node was ahead when it sent the beat, less the
// time that the beat took.
func (b *beat) ahead(now time.Time) time.Duration {
	if b.clock == 0 || b.clock > math.MaxInt64 {
		return 0
	}
	return time.UnixMilli(int64(b.clock)).Sub(now)
}

// remove forgets a node that has left.
func (ps *peers) remove(id nodeID) {
	ps.mu.Lock()
	delete(ps.all, id)
	ps.mu.Unlock()
}

// lost returns the names of nodes that have become silent for longer than beatLost, each once.
func (ps *peers) lost(now time.Time) (names []string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		if !p.lost && now.Sub(p.heard) > beatLost {
			p.lost = true
			names = append(names, p.name)
		}
	}
	return names
}

// unlink is called when the connection of this node broke.
func (ps *peers) unlink() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		p.linked, p.repeats = false, false
	}
}

// unlinked returns the live nodes that have to be linked.
func (ps *peers) unlinked(now time.Time) (ids []nodeID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, p := range ps.all {
		switch {
		case now.Sub(p.heard) > peerForgotten:
			delete(ps.all, id)
		case now.Sub(p.heard) <= beatLost && !p.linked:
			ids = append(ids, id)
		}
	}
	return ids
}

// link records that a probe was answered. It reports whether the node was not
// linked before, and can repeat what did not arrive.
func (ps *peers) link(id nodeID) (wasLinked, repeats bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[id]
	if p == nil {
		return true, false
	}
	wasLinked, repeats = p.linked, p.repeats
	p.linked, p.silent = true, false
	return wasLinked, repeats
}

// silence records that a node did not answer a probe in time.
func (ps *peers) silence(id nodeID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[id]; p != nil {
		p.linked, p.repeats, p.silent = false, false, true
	}
}

// responsive returns the live nodes that answered the last probe, or had none.
func (ps *peers) responsive(now time.Time) map[nodeID]struct{} {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ids := make(map[nodeID]struct{}, len(ps.all))
	for id, p := range ps.all {
		if now.Sub(p.heard) <= beatLost && !p.silent {
			ids[id] = struct{}{}
		}
	}
	return ids
}

// named is a node with its name.
type named struct {
	id   nodeID
	name string
}

// holding returns the live nodes that hold a target.
func (ps *peers) holding(t target, now time.Time) (nodes []named) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, p := range ps.all {
		if p.has(t, now) {
			nodes = append(nodes, named{id, p.name})
		}
	}
	return nodes
}

func (ps *peers) shared(t target, now time.Time) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		if p.has(t, now) {
			return true
		}
	}
	return false
}

func (p *peer) has(t target, now time.Time) bool {
	return now.Sub(p.heard) <= beatLost && (t == everyone || p.holds.has(t))
}

// nameOf returns the name of a node for logs.
func (ps *peers) nameOf(id nodeID) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[id]; p != nil {
		return p.name
	}
	return id.String()
}

// appendProbe encodes a probe or its echo.
func appendProbe(from nodeID, k kind, round uint64) []byte {
	return binary.AppendUvarint(appendHeader(nil, k, from), round)
}
