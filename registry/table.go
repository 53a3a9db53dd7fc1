package registry

import "math/bits"

// table is a set of pointers, each found by a name that is stored behind it: what a map[string]T does
// at 24 bytes a slot, done at 10. Linear probing in Robin Hood order, nearest to home last. Beside each
// pointer stands a mark:
//
//	bits 15..8  distance from the home slot, plus one; 0 means that the slot is empty
//	bits  7..0  the low byte of the hash
//
// Both halves filter, so that a lookup follows one pointer in nearly all cases; and the distance alone
// is enough to move elements on insertion and removal, so neither needs a tombstone or a second hash.
//
// A hash is used in three parts that share no bits: the highest 8 choose the shard, the lowest 8 are
// the mark's, and those between choose the home slot.
//
// The zero value is an empty table. A table does not lock.
type table[T any] struct {
	slots []T
	marks []uint16
	n     int32 // elements
}

// keys tells a table what it stores.
type keys[T any] struct {
	name func(T) string
	hash func(T) uint64
}

const (
	minSlots = 8      // also kept when the last element has gone: 80 bytes
	near     = 1 << 8 // a mark's distance in the home slot, and the step from there
)

func (t *table[T]) len() int { return int(t.n) }

// home returns the slot of a hash, scaled to a table of any size (not only powers of two, which would
// waste up to half), and its mark there.
func (t *table[T]) home(hash uint64) (slot int, mark uint32) {
	hi, _ := bits.Mul64(hash<<8, uint64(len(t.slots)))
	return int(hi), near | uint32(hash&0xff)
}

// find returns the slot of the element called name, or -1.
func (t *table[T]) find(k *keys[T], hash uint64, name string) int {
	if t.n == 0 {
		return -1
	}
	i, want := t.home(hash)
	for {
		mark := uint32(t.marks[i])
		if mark == want && k.name(t.slots[i]) == name {
			return i
		}
		if mark < want&^0xff {
			return -1 // nearer to its home than name would be: name would have taken this slot
		}
		want += near
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// insert adds v, whose name must not be there yet.
func (t *table[T]) insert(k *keys[T], hash uint64, v T) {
	if int(t.n+1)*8 > len(t.slots)*7 {
		t.resize(k, roomy(int(t.n)+1))
	}
	t.n++
	for {
		over, ok := t.place(hash, v)
		if ok {
			return
		}
		// An element would be 255 slots from home, with a random hash less likely than a hardware
		// fault. More room ends it.
		v, hash = over, k.hash(over)
		t.resize(k, len(t.slots)*2)
	}
}

// place puts v into the first slot whose element is nearer to its home than v would be, and moves that
// one on in the same way. If the distance cannot be written down it returns the element in hand.
func (t *table[T]) place(hash uint64, v T) (over T, ok bool) {
	i, mark := t.home(hash)
	for mark < 1<<16 {
		there := uint32(t.marks[i])
		if there == 0 {
			t.slots[i], t.marks[i] = v, uint16(mark)
			return over, true
		}
		if there < mark&^0xff {
			t.slots[i], v = v, t.slots[i]
			t.marks[i], mark = uint16(mark), there
		}
		mark += near
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return v, false
}

// remove empties slot i: the elements after it, up to the first that is empty or at home, move one
// slot nearer to theirs.
func (t *table[T]) remove(k *keys[T], i int) {
	for {
		next := i + 1
		if next == len(t.slots) {
			next = 0
		}
		if t.marks[next] < 2*near {
			break
		}
		t.slots[i], t.marks[i] = t.slots[next], t.marks[next]-near
		i = next
	}
	var none T
	t.slots[i], t.marks[i] = none, 0
	t.n--
	if int(t.n)*2 < len(t.slots) && len(t.slots) > minSlots {
		t.resize(k, roomy(int(t.n)))
	}
}

// roomy returns the size at which n elements fill 7/10 of a table. Tables are between 1/2 and 7/8 full
// and resized to 7/10 at either end, so a slot's 10 bytes become 11.4 to 20 per element, and at least a
// quarter of the elements must come or go between two resizes.
func roomy(n int) int { return max(minSlots, n*10/7+1) }

// resize moves all elements to new arrays. It hashes all names again, which costs less than keeping
// the hashes would: a resize of the 4,000 users that a shard has of a million takes well below 1 ms.
func (t *table[T]) resize(k *keys[T], size int) {
	for {
		grown := table[T]{slots: make([]T, size), marks: make([]uint16, size), n: t.n}
		if grown.placeAll(k, t) {
			*t = grown
			return
		}
		size *= 2
	}
}

func (t *table[T]) placeAll(k *keys[T], from *table[T]) bool {
	for i, mark := range from.marks {
		if mark == 0 {
			continue
		}
		if _, ok := t.place(k.hash(from.slots[i]), from.slots[i]); !ok {
			return false
		}
	}
	return true
}
