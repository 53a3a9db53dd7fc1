package netpoll

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"unique"
)

// queueModel drives a queue and a naive list of messages in parallel. Sent bytes end up in
// wire, which must always be whole messages in order.
type queueModel struct {
	t     testing.TB
	q     queue
	limit int
	next  uint32 // number of the next message
	list  []modelMessage
	wire  []byte
	taken []byte       // what a goroutine writes outside of the lock
	keyed map[int]bool // numbers of messages with a key, whose order differs
}

type modelMessage struct {
	unsent []byte
	begun  bool
	policy Policy
	key    Key
}

// message returns a message that contains its own length.
func (m *queueModel) message(n int) []byte {
	b := make([]byte, 8+n)
	binary.BigEndian.PutUint32(b, m.next)
	binary.BigEndian.PutUint32(b[4:], uint32(n))
	for i := range n {
		b[8+i] = byte(m.next) + byte(i)
	}
	m.next++
	return b
}

func (m *queueModel) step(op byte, arg int) {
	switch op % 6 {
	case 0, 1:
		key, policy, borrowed := op/36%4, Policy(op/6%3), op/18%2 == 0
		if key != 0 && !borrowed && policy != Control {
			m.writeKeyed(m.message(arg%400), policy, unique.Make(string('a'+rune(key))))
			break
		}
		m.write(m.message(arg%400), policy, borrowed)
	case 2:
		m.send(min(arg, m.q.size))
	case 3: // as the writing goroutine of a stream does
		if m.taken == nil && !m.q.empty() {
			m.taken, m.q.busy = m.q.front(nil, 1)[0], true
		}
	case 4:
		if m.taken != nil {
			m.q.busy = false
			m.sent(m.taken[:min(arg, len(m.taken))])
			m.taken = nil
		}
	case 5:
		if arg%16 == 0 {
			m.discard()
		}
	}
	m.check()
}

// writeKeyed is what Conn.enqueueLocked does for a message with a key.
func (m *queueModel) writeKeyed(b []byte, p Policy, key Key) {
	if m.keyed == nil {
		m.keyed = make(map[int]bool)
	}
	m.keyed[int(m.next-1)] = true
	at := slices.IndexFunc(m.list, func(e modelMessage) bool {
		return e.key == key && !e.begun && !(m.taken != nil && &e.unsent[0] == &m.list[0].unsent[0])
	})
	i, found := m.q.find(key)
	if found != (at >= 0) {
		m.t.Fatalf("find = %t, the model has the key at %d", found, at)
	}
	if found {
		was := m.list[at]
		m.list[at].policy = Control
		ok, dropped := m.q.replace(key, i, b, m.limit, p)
		m.drop(dropped)
		at = slices.IndexFunc(m.list, func(e modelMessage) bool { return len(e.unsent) > 0 && &e.unsent[0] == &was.unsent[0] })
		if m.list[at].policy = was.policy; ok {
			m.list[at] = modelMessage{unsent: bytes.Clone(b), policy: p, key: key}
		} else if len(b) <= len(was.unsent) && m.q.cost() <= m.limit {
			m.t.Fatal("a message that is not longer is not accepted")
		}
		return
	}
	if m.write(b, p, false) {
		m.q.note(key)
		m.list[len(m.list)-1].key = key
	}
}

// drop removes the oldest messages that may be dropped from the model.
func (m *queueModel) drop(n int) {
	m.list = slices.DeleteFunc(m.list, func(e modelMessage) bool {
		first := m.taken != nil && &e.unsent[0] == &m.list[0].unsent[0]
		if n == 0 || e.policy != DropOldest || e.begun || first {
			return false
		}
		n--
		return true
	})
}

func (m *queueModel) write(b []byte, p Policy, borrowed bool) (ok bool) {
	was := m.q.cost()
	free := len(m.list) == 0 || len(m.list) == 1 && m.taken != nil
	ok, dropped := m.q.makeRoom(len(b), m.limit, p)
	var freed, droppable int
	kept := m.list[:0:0]
	for _, e := range m.list {
		if e.policy == DropOldest && !e.begun && !(m.taken != nil && &e.unsent[0] == &m.list[0].unsent[0]) {
			droppable += len(e.unsent) + entryCost
			if dropped > 0 {
				dropped--
				freed += len(e.unsent) + entryCost
				continue
			}
		}
		kept = append(kept, e)
	}
	over := was + len(b) + entryCost - m.limit
	if p != DropOldest {
		droppable = 0
	}
	slack := 0
	if p == Control {
		slack = controlSlack
	}
	switch {
	case dropped > 0:
		m.t.Fatalf("more messages dropped than could be")
	case ok != (free || over-droppable <= slack):
		m.t.Fatalf("makeRoom = %v: %d bytes over, %d droppable, slack %d, nothing waits %v", ok, over, droppable, slack, free)
	case freed > 0 && p != DropOldest, freed > 0 && !ok:
		m.t.Fatalf("dropped for policy %d, accepted %v", p, ok)
	}
	m.list = kept
	if ok {
		m.q.push(b, p, borrowed)
		m.list = append(m.list, modelMessage{unsent: bytes.Clone(b), policy: p})
		if borrowed {
			clear(b)
		}
	}
	return ok
}

func (m *queueModel) send(n int) {
	if m.taken != nil {
		return // the lock's holder sends nothing while another one writes
	}
	var out []byte
	for _, b := range m.q.front(nil, 3) {
		if len(b) == 0 {
			m.t.Fatal("an empty piece")
		}
		out = append(out, b...)
	}
	m.sent(out[:min(n, len(out))])
}

func (m *queueModel) sent(b []byte) {
	m.wire = append(m.wire, b...)
	m.q.sent(len(b))
	for n := len(b); n > 0; {
		e := &m.list[0]
		k := min(n, len(e.unsent))
		e.unsent, e.begun, n = e.unsent[k:], true, n-k
		if len(e.unsent) == 0 {
			m.list = m.list[1:]
		}
	}
}

func (m *queueModel) discard() {
	stay := 0 // bytes of the head entry, which is on the wire or on its way
	if m.q.begun() > m.q.head {
		stay = len(m.q.front(nil, 1)[0])
	}
	dropped := m.q.discard()
	for i, e := range m.list {
		if stay -= len(e.unsent); stay < 0 {
			if dropped != len(m.list)-i {
				m.t.Fatalf("discard dropped %d messages, want %d", dropped, len(m.list)-i)
			}
			m.list = m.list[:i]
			return
		}
	}
	if dropped != 0 {
		m.t.Fatalf("discard dropped %d messages, want none", dropped)
	}
}

func (m *queueModel) check() {
	var want []byte
	for _, e := range m.list {
		want = append(want, e.unsent...)
	}
	if got := bytes.Join(m.q.front(nil, 1<<30), nil); !bytes.Equal(got, want) {
		m.t.Fatalf("the queue holds %d bytes that differ from the model's %d", len(got), len(want))
	}
	if m.q.size != len(want) || m.q.empty() != (len(want) == 0) {
		m.t.Fatalf("size %d, empty %v, want %d bytes", m.q.size, m.q.empty(), len(want))
	}
	if waste := cap(m.q.own); waste > ownKeep {
		m.t.Fatalf("storage of %d bytes for copies", waste)
	}
	keys := 0
	for i, e := range m.q.entries[m.q.head:] {
		if e.slot == 0 {
			continue
		}
		keys++
		p := m.q.keyed.places[e.slot]
		if p.at-m.q.base != m.q.head+i || m.q.keyed.slots[p.key] != e.slot {
			m.t.Fatalf("the entry %d is known as %d", m.q.head+i, p.at-m.q.base)
		}
	}
	if k := m.q.keyed; keys != m.q.keys() || k != nil && len(k.places) != 1+keys+len(k.free) {
		m.t.Fatalf("%d entries have a key, the index has %d", keys, m.q.keys())
	}
	for _, e := range m.q.entries[len(m.q.entries):cap(m.q.entries)] {
		if e.b != nil {
			m.t.Fatal("a reference to a message that was sent or dropped")
		}
	}
}

// finish sends the rest and reads the wire.
func (m *queueModel) finish() {
	m.step(4, 1<<20)
	for !m.q.empty() {
		m.send(100)
		m.check()
	}
	last := -1
	for wire := m.wire; len(wire) > 0; {
		number, n := int(binary.BigEndian.Uint32(wire)), binary.BigEndian.Uint32(wire[4:])
		if !m.keyed[number] {
			if number <= last {
				m.t.Fatalf("message %d after %d", number, last)
			}
			last = number
		}
		for i, c := range wire[8 : 8+n] {
			if c != byte(number)+byte(i) {
				m.t.Fatalf("message %d differs at byte %d", number, i)
			}
		}
		wire = wire[8+n:]
	}
}

func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := &queueModel{t: t, limit: 500 + r.IntN(8000)}
		for range 500 {
			m.step(byte(r.Uint32()), r.IntN(1000))
		}
		m.finish()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 200, 2, 100, 6, 255, 12, 255, 5, 0})
	f.Add([]byte{0, 1, 0, 1, 3, 0, 0, 1, 12, 99, 4, 1, 5, 0, 2, 9})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := &queueModel{t: t, limit: 1000}
		for ; len(ops) >= 2; ops = ops[2:] {
			m.step(ops[0], int(ops[1])*2)
		}
		m.finish()
	})
}
