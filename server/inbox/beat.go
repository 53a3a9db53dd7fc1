package inbox

import (
	"encoding/binary"
	"time"
)

const (
	// idSize is the length of a node's name.
	idSize = 16
	// A beat is the name, a mark and, with holdsMark, what the node holds and
	// how many there were before, in eight bytes.
	holdsMark = 'h'
	byeMark   = 'b'

	// beatGather is how long changes are gathered before they are told.
	beatGather = 20 * time.Millisecond
)

// beat is the goroutine that tells the others what this node holds, and hears
// what they do.
func (r *Routes) beat() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	soon := time.NewTimer(0) // the first at once
	defer soon.Stop()
	for {
		select {
		case <-r.quit:
			return
		case m := <-r.beats:
			if r.hear(m.Data, time.Now()) {
				soon.Reset(beatGather) // a new one wants to know us
			}
		case <-r.changed:
			soon.Reset(beatGather)
		case <-soon.C:
			r.say()
		case <-ticker.C:
			r.say()
		}
	}
}

func (r *Routes) say() {
	b := make([]byte, 0, idSize+1+len(r.buckets)/8+8)
	b = append(append(b, r.self...), holdsMark)
	var holds [2 * Buckets / 8]byte
	for i := range r.buckets {
		bk := &r.buckets[i]
		bk.mu.Lock()
		if bk.holds > 0 {
			holds[i/8] |= 1 << (i % 8)
		}
		bk.mu.Unlock()
	}
	r.said++
	r.store.nc.Publish(beatSubject, binary.BigEndian.AppendUint64(append(b, holds[:]...), r.said))
}

// hear takes note of a beat and reports whether its node is new.
func (r *Routes) hear(b []byte, now time.Time) bool {
	if len(b) < idSize+1 || string(b[:idSize]) == r.self {
		return false
	}
	id, mark, b := string(b[:idSize]), b[idSize], b[idSize+1:]
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case mark == byeMark:
		delete(r.nodes, id)
	case mark == holdsMark && len(b) == 2*Buckets/8+8:
		said := binary.BigEndian.Uint64(b[2*Buckets/8:])
		n := r.nodes[id]
		fresh := n == nil
		if fresh {
			n = new(node)
			r.nodes[id] = n
		}
		if !fresh && said != n.said+1 {
			r.store.missed() // what else it said meanwhile did not come either
		}
		n.heard, n.said = now, said
		copy(n.holds[:], b)
		return fresh
	}
	return false
}
