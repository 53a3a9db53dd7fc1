package inbox

import "math/bits"

// seqSet is a set of sequences. Those of a stream are dense, so that bitmaps of
// 65,536 need little more than a bit for each.
type seqSet map[uint64]*[1024]uint64

func (s seqSet) add(seq uint64) {
	page := s[seq>>16]
	if page == nil {
		page = new([1024]uint64)
		s[seq>>16] = page
	}
	page[seq&0xffff/64] |= 1 << (seq % 64)
}

func (s seqSet) remove(seq uint64) {
	if page := s[seq>>16]; page != nil {
		page[seq&0xffff/64] &^= 1 << (seq % 64)
	}
}

func (s seqSet) has(seq uint64) bool {
	page := s[seq>>16]
	return page != nil && page[seq&0xffff/64]&(1<<(seq%64)) != 0
}

func (s seqSet) len() (n int) {
	for _, page := range s {
		for _, word := range page {
			n += bits.OnesCount64(word)
		}
	}
	return n
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
