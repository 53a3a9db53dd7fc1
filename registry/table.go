package registry

// table is a hash table of pointers to elements that hold their own names: 12 bytes a slot, where a
// map[string]T needs 24. It uses linear probing in Robin Hood order: an element that is farther from its
// home slot takes the slot of an element that is nearer. Each pointer has a mark:
//
//	bits 31..24  distance from the home slot, plus one; 0 means that the slot is empty
//	bit  23      chained, a flag for the caller
//	bits 22..0   the low bits of the hash
//
// Because the mark has bits of the hash, the table follows a pointer only to compare a name that is almost
// certainly equal. So a lookup costs one cache miss for the slot and one for the element, a resize reads
// the slots in order, and removal moves elements towards their home slots instead of leaving a tombstone.
//
// The zero value is an empty table. A table is not safe for concurrent use.
type table[T any] struct {
	groups []group[T]
	n      int32 // elements
}

// group is eight slots. Marks and pointers are next to each other to save cache misses.
type group[T any] struct {
	marks [groupSlots]uint32
	slots [groupSlots]T
}

const (
	groupSlots = 8

	hashBits = 23
	hashMask = 1<<hashBits - 1
	chained  = 1 << hashBits
	oneStep  = 1 << 24 // added to a mark for each slot of distance; also the mark of distance 0
	distance = 0xff * oneStep
)

func (t *table[T]) len() int  { return int(t.n) }
func (t *table[T]) size() int { return len(t.groups) * groupSlots }

// at returns the mark and the element in a slot.
func (t *table[T]) at(slot int) (*uint32, *T) {
	g := &t.groups[slot/groupSlots]
	return &g.marks[slot%groupSlots], &g.slots[slot%groupSlots]
}

func (t *table[T]) following(slot int) int {
	if slot++; slot < t.size() {
		return slot
	}
	return 0
}

// appendAll appends all elements, in no particular order.
func (t *table[T]) appendAll(dst []T) []T {
	for i := range t.groups {
		g := &t.groups[i]
		for j, mark := range g.marks {
			if mark&distance != 0 {
				dst = append(dst, g.slots[j])
			}
		}
	}
	return dst
}

// home returns the home slot of a mark: its bits of the hash, scaled to the size of the table, which need
// not be a power of two.
func (t *table[T]) home(mark uint32) int {
	return int(uint64(mark&hashMask) * uint64(t.size()) >> hashBits)
}

// find returns the slot of the element with a name, or -1.
func (t *table[T]) find(nameOf func(T) string, hash uint64, name string) int {
	if t.n == 0 {
		return -1
	}
	slot := t.home(uint32(hash))
	// want has 64 bits, so that it can go one step beyond the largest distance.
	for want := oneStep | hash&hashMask; ; want += oneStep {
		mark, v := t.at(slot)
		m := uint64(*mark &^ chained)
		if m == want && nameOf(*v) == name {
			return slot
		}
		if m < want&^hashMask {
			return -1 // this element is nearer to its home, so name would have taken the slot
		}
		slot = t.following(slot)
	}
}

// insert adds v. The table must not have an element with its name.
func (t *table[T]) insert(hash uint64, v T) {
	if n := int(t.n) + 1; n*8 > t.size()*7 {
		t.resize(sizeFor(n))
	}
	t.n++
	mark, v, ok := t.place(uint32(hash)&hashMask, v)
	for !ok {
		// An element would be more than 254 slots from home, which with random hashes is less likely than
		// a hardware fault. A larger table separates the elements.
		t.resize(2 * t.size())
		mark, v, ok = t.place(mark, v)
	}
}

// place puts v in the first slot that is empty or has an element nearer to its home than v would be, and
// then places that element in the same way. If a distance does not fit in a mark, place returns false and
// the element that has no slot.
func (t *table[T]) place(mark uint32, v T) (uint32, T, bool) {
	slot := t.home(mark)
	for mark = mark&^distance | oneStep; ; mark += oneStep {
		m, other := t.at(slot)
		if *m == 0 {
			*m, *other = mark, v
			return 0, v, true
		}
		if *m&distance < mark&distance {
			*m, mark = mark, *m
			*other, v = v, *other
		}
		if mark >= distance {
			return mark, v, false
		}
		slot = t.following(slot)
	}
}

// remove empties a slot, by moving the elements that follow it one slot towards their homes, up to the
// first slot that is empty or whose element is at home.
func (t *table[T]) remove(slot int) {
	mark, v := t.at(slot)
	for {
		slot = t.following(slot)
		nextMark, next := t.at(slot)
		if *nextMark < 2*oneStep {
			break
		}
		*mark, *v = *nextMark-oneStep, *next
		mark, v = nextMark, next
	}
	var none T
	*mark, *v = 0, none
	t.n--
	if n := int(t.n); n*5 < t.size()*3 && sizeFor(n) < t.size() {
		t.resize(sizeFor(n))
	}
}

// sizeFor returns the number of slots of which n elements fill 3/4. A table is between 6/10 and 7/8 full,
// and is resized when it would leave that range, so the 12 bytes of a slot become 13.7 to 20 bytes per
// element. A table that has become empty keeps one group.
func sizeFor(n int) int {
	groups := (n*4/3 + groupSlots) / groupSlots
	return groups * groupSlots
}

// resize moves all elements to a table with at least size slots.
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
