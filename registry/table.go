package registry

// table is a set of pointers, each found by a name that is stored behind it: what a map[string]T does
// at 24 bytes a slot, done at 12. Linear probing in Robin Hood order, nearest to home last. Beside each
// pointer stands a mark:
//
//	bits 31..24  distance from the home slot, plus one; 0 means that the slot is empty
//	bit  23      more, for the user of the table
//	bits 22..0   of the hash
//
// The hash is kept so that nothing here ever follows a pointer but the comparison of a name that is
// almost certainly equal. So a lookup costs one cache miss for the slot and one for what it points to,
// a resize reads its arrays from front to back, and removal moves elements home without a tombstone.
//
// The zero value is an empty table. A table does not lock.
type table[T any] struct {
	groups []group[T]
	n      int32 // elements
}

// group is eight slots. Marks and pointers lie together, for the sake of the cache.
type group[T any] struct {
	marks [groupSlots]uint32
	slots [groupSlots]T
}

const (
	groupSlots = 8

	hashBits = 23
	hashMask = 1<<hashBits - 1
	more     = 1 << hashBits
	near     = 1 << 24 // the distance in the home slot, and the step from there
	distance = 0xff * near
)

func (t *table[T]) len() int  { return int(t.n) }
func (t *table[T]) size() int { return len(t.groups) * groupSlots }

// at returns the mark and the element in a slot.
func (t *table[T]) at(slot int) (*uint32, *T) {
	g := &t.groups[slot/groupSlots]
	return &g.marks[slot%groupSlots], &g.slots[slot%groupSlots]
}

func (t *table[T]) after(slot int) int {
	if slot++; slot < t.size() {
		return slot
	}
	return 0
}

// home scales the hash in a mark to the table's size, which need not be a power of two.
func (t *table[T]) home(mark uint32) int {
	return int(uint64(mark&hashMask) * uint64(t.size()) >> hashBits)
}

// find returns the slot of the element called name, or -1.
func (t *table[T]) find(nameOf func(T) string, hash uint64, name string) int {
	if t.n == 0 {
		return -1
	}
	slot := t.home(uint32(hash))
	// 64 bits wide, so that it may go one step beyond the greatest distance.
	for want := near | hash&hashMask; ; want += near {
		mark, v := t.at(slot)
		m := uint64(*mark &^ more)
		if m == want && nameOf(*v) == name {
			return slot
		}
		if m < want&^hashMask {
			return -1 // nearer to its home than name would be: name would have taken this slot
		}
		slot = t.after(slot)
	}
}

// insert adds v, whose name must not be there yet.
func (t *table[T]) insert(hash uint64, v T) {
	if n := int(t.n) + 1; n*8 > t.size()*7 {
		t.resize(roomy(n))
	}
	t.n++
	mark, v, ok := t.place(uint32(hash)&hashMask, v)
	for !ok {
		// An element would be more than 255 slots from home, with a random hash less likely than a
		// hardware fault. More room ends it.
		t.resize(2 * t.size())
		mark, v, ok = t.place(mark, v)
	}
}

// place puts v into the first slot whose element is nearer to its home than v would be, and moves that
// one on in the same way. If a distance cannot be written down it returns the element in hand.
func (t *table[T]) place(mark uint32, v T) (uint32, T, bool) {
	slot := t.home(mark)
	for mark = mark&^distance | near; ; mark += near {
		m, there := t.at(slot)
		if *m == 0 {
			*m, *there = mark, v
			return 0, v, true
		}
		if *m&distance < mark&distance {
			*m, mark = mark, *m
			*there, v = v, *there
		}
		if mark >= distance {
			return mark, v, false
		}
		slot = t.after(slot)
	}
}

// remove empties a slot: the elements after it, up to the first that is empty or at home, move one slot
// nearer to theirs.
func (t *table[T]) remove(slot int) {
	mark, v := t.at(slot)
	for {
		slot = t.after(slot)
		nextMark, next := t.at(slot)
		if *nextMark < 2*near {
			break
		}
		*mark, *v = *nextMark-near, *next
		mark, v = nextMark, next
	}
	var none T
	*mark, *v = 0, none
	t.n--
	if n := int(t.n); n*5 < t.size()*3 && roomy(n) < t.size() {
		t.resize(roomy(n))
	}
}

// roomy returns the size in which n elements fill 3/4 of the slots. Tables are between 6/10 and 7/8 full
// and resized to 3/4 at either end, so a slot's 12 bytes become 13.7 to 20 per element. The smallest table
// stays when the last element has gone: 96 bytes.
func roomy(n int) int {
	groups := (n*4/3 + groupSlots) / groupSlots
	return groups * groupSlots
}

// resize moves all elements to new slots.
func (t *table[T]) resize(size int) {
	for ; ; size *= 2 {
		moved := table[T]{groups: make([]group[T], size/groupSlots), n: t.n}
		if moved.placeAll(t) {
			*t = moved
			return
		}
	}
}

func (t *table[T]) placeAll(from *table[T]) bool {
	for i := range from.groups {
		g := &from.groups[i]
		for j, mark := range &g.marks {
			if mark == 0 {
				continue
			}
			if _, _, ok := t.place(mark, g.slots[j]); !ok {
				return false
			}
		}
	}
	return true
}
