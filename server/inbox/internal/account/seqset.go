package account

import "math/bits"

// seqSet is a set of sequences. Those of a stream are dense, so that bitmaps of
// 65,536 need little more than a bit for each.
type seqSet map[uint64]*[1024]uint64

// Add adds a sequence.
func (s seqSet) Add(seq uint64) {
	page := s[seq>>16]
	if page == nil {
		page = new([1024]uint64)
		s[seq>>16] = page
	}
	page[seq&0xffff/64] |= 1 << (seq % 64)
}

func (s seqSet) removeAll(others seqSet) {
	for n, other := range others {
		if page := s[n]; page != nil {
			for i := range page {
				page[i] &^= other[i]
			}
		}
	}
}

// Has reports whether a sequence is in the set.
func (s seqSet) Has(seq uint64) bool {
	page := s[seq>>16]
	return page != nil && page[seq&0xffff/64]&(1<<(seq%64)) != 0
}

// min returns the least sequence, 0 if there is none.
func (s seqSet) min() uint64 {
	least, found := uint64(0), false
	for n := range s {
		for i, word := range s[n] {
			if word == 0 {
				continue
			}
			if seq := n<<16 + uint64(i*64+bits.TrailingZeros64(word)); !found || seq < least {
				least, found = seq, true
			}
			break
		}
	}
	return least
}
