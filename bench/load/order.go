package load

// An order checks that numbers count up by one. It remembers which of the last 64 were received, to distinguish a reordered
// number from a duplicate. 12 bytes.
type order struct {
	next uint32 // the expected number
	// seen has bit i set if next-1-i was received.
	seenHi, seenLo uint32
}

func (o *order) seen() uint64 { return uint64(o.seenHi)<<32 | uint64(o.seenLo) }

func (o *order) set(seen uint64) { o.seenHi, o.seenLo = uint32(seen>>32), uint32(seen) }

// startingAt returns an order that expects next.
func startingAt(next uint32) order { return order{next, ^uint32(0), ^uint32(0)} }

// check counts what is wrong with the number of a message; fresh is false for a message to ignore.
func (o *order) check(seq uint32, f *Faults, receiver func() string) (fresh bool) {
	ahead := int32(seq - o.next)
	switch {
	case ahead == 0:
		o.next++
		o.set(o.seen()<<1 | 1)
		return true
	case ahead > 0:
		f.count(&f.Lost, "%s: received message %d, expected %d", receiver(), seq, o.next)
		f.Lost += int(ahead) - 1
		o.next = seq + 1
		o.set(o.seen()<<(ahead+1) | 1)
		return true
	case -ahead > 64 || o.seen()>>(-ahead-1)&1 == 1:
		f.count(&f.Duplicated, "%s: received message %d again, expected %d", receiver(), seq, o.next)
		return false
	default:
		f.count(&f.Reordered, "%s: received message %d after message %d", receiver(), seq, o.next-1)
		f.Lost--
		o.set(o.seen() | 1<<(-ahead-1))
		return true
	}
}
