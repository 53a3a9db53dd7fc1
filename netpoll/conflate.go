package netpoll

import "unique"

// Key names what a message is about: a message replaces an older one with the same Key
// that is in the outbound queue, see Conn.WriteKeyed. The zero Key names nothing.
type Key = unique.Handle[string]

// keyedCost is what a message with a Key costs in addition, in bytes: its place, and its
// share of the map, with the room that a map keeps free.
const keyedCost = 48

// index finds the entries of a queue by their keys. A queue has one from the first message
// with a Key on that it holds.
type index struct {
	slots  map[Key]uint32 // of the keys that are in the queue
	places []place        // by slot; the first is not used
	free   []uint32       // slots without a key
}

// place is where the entry with a key is.
type place struct {
	key Key
	at  int // index of the entry, plus queue.base
}

// WriteKeyed is Write for a message that replaces an older one with the same key, if that is
// in the outbound queue and none of its bytes are on their way. It takes the place of the
// older one, so that a key that changes more often than the peer reads is not put off for
// ever. The order of messages with different keys is that of the first of each. Replaced
// messages are counted in Stats.Conflated. Without a queue, WriteKeyed is Write.
//
// The message has its own policy, not that of the older one. If it is longer than the older
// one, and the queue has no room for the difference, the policy decides as in Write, and the
// older one stays. The policy Control, whose frames are never dropped, ignores the key.
func (c *Conn) WriteKeyed(b []byte, p Policy, key Key) Outcome {
	if p == Control || len(b) == 0 { // nothing is queued for an empty message
		key = Key{}
	}
	return c.write(b, p, false, key)
}

// find returns the index of the entry with a key that can be replaced.
func (q *queue) find(key Key) (i int, ok bool) {
	if q.keyed == nil {
		return 0, false
	}
	slot, ok := q.keyed.slots[key]
	if !ok {
		return 0, false
	}
	i = q.keyed.places[slot].at - q.base
	return i, i >= q.begun()
}

// replace gives the message with a key, at i, new bytes and a new policy, if a queue that may
// cost limit has room for them. It also returns how many other messages were dropped for it.
// b is shared.
func (q *queue) replace(key Key, i int, b []byte, limit int, p Policy) (ok bool, dropped int) {
	e := &q.entries[i]
	alone := q.firstWaits(i) && i == len(q.entries)-1 // then any message is accepted, as by an empty queue
	was := e.policy
	e.policy = Control // which makeRoom does not drop
	ok, dropped = q.makeRoom(len(b)-len(e.b)-entryCost, limit, p)
	i, _ = q.find(key) // others were dropped
	e = &q.entries[i]
	if e.policy = was; !ok && !alone {
		return false, dropped
	}
	q.resize(len(b) - len(e.b))
	e.b, e.policy = b, p
	return true, dropped
}

// note enters the last entry under a key. An older one that has the key has begun.
func (q *queue) note(key Key) {
	k := q.keyed
	if k == nil {
		k = &index{slots: make(map[Key]uint32), places: make([]place, 1)}
		q.keyed = k
	}
	last := len(q.entries) - 1
	slot, used := k.slots[key]
	switch {
	case used:
		q.entries[k.places[slot].at-q.base].slot = 0
	case len(k.free) > 0:
		slot = k.free[len(k.free)-1]
		k.free = k.free[:len(k.free)-1]
	default:
		slot = uint32(len(k.places))
		k.places = append(k.places, place{})
	}
	k.slots[key] = slot
	k.places[slot] = place{key, q.base + last}
	q.entries[last].slot = slot
}

// forget removes an entry that leaves the queue from the index.
func (q *queue) forget(e entry) {
	if e.slot == 0 {
		return
	}
	k := q.keyed
	delete(k.slots, k.places[e.slot].key)
	k.places[e.slot] = place{}
	k.free = append(k.free, e.slot)
}

// moved notes the new index of an entry.
func (q *queue) moved(e entry, i int) {
	if e.slot != 0 {
		q.keyed.places[e.slot].at = q.base + i
	}
}

// keys returns how many messages have a key.
func (q *queue) keys() int {
	if q.keyed == nil {
		return 0
	}
	return len(q.keyed.slots)
}
