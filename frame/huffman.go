package frame

import "math/bits"

const (
	maxCode  = 15 // bits of the longest code (RFC 1951, 3.2.7)
	rootBits = 9  // codes up to this length are found in one step
	rootMask = 1<<rootBits - 1
)

// huffman decodes one alphabet of a deflated block. Codes are canonical (RFC
// 1951, 3.2.2), so that counting those of each length is enough to decode them
// bit by bit; the table is for the short ones, which are the frequent ones.
type huffman struct {
	// root has for the next rootBits bits the symbol, shifted by 4, and the
	// length of its code, or 0 if that is longer or there is none.
	root   [1 << rootBits]uint16
	count  [maxCode + 1]uint16 // codes of each length
	sorted [288]uint16         // symbols in the order of their codes
	most   uint8               // length of the longest code
}

// init makes the codes of the given lengths. It is false if they leave codes
// without a meaning or give some two. Two exceptions are what zlib's and Go's
// readers let pass: a code that is never used may be missing, and one that is
// alone may be of one bit.
func (h *huffman) init(lengths []uint8) bool {
	h.count = [maxCode + 1]uint16{}
	for _, n := range lengths {
		h.count[n&maxCode]++
	}
	h.count[0] = 0
	h.most = 0
	var code int
	var next, at [maxCode + 1]uint16 // by length: the next code, and where it is in sorted
	for n := 1; n <= maxCode; n++ {
		at[n] = at[n-1] + h.count[n-1]
		code <<= 1
		next[n] = uint16(code)
		code += int(h.count[n])
		if h.count[n] != 0 {
			h.most = uint8(n)
			if code > 1<<n {
				return false
			}
		}
	}
	code >>= maxCode - h.most
	if h.most != 0 && code != 1<<h.most && (code != 1 || h.most != 1) {
		return false
	}

	used := 1 << min(h.most, rootBits)
	clear(h.root[:used])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.sorted[at[n]] = uint16(symbol)
		at[n]++
		code := next[n]
		next[n]++
		if n > rootBits {
			continue
		}
		// A code comes with its first bit lowest (RFC 1951, 3.1.1).
		for i := int(bits.Reverse16(code) >> (16 - n)); i < used; i += 1 << n {
			h.root[i] = uint16(symbol<<4) | uint16(n)
		}
	}
	for ; used < len(h.root); used *= 2 {
		copy(h.root[used:], h.root[:used])
	}
	return true
}

// find returns what root would have for the code at the beginning of b, of which
// n bits have come: 0 if it goes on behind those. It is false if no code begins
// like this.
func (h *huffman) find(b uint64, n uint) (entry uint16, ok bool) {
	var code, first, index int
	for l := 1; l <= int(h.most); l++ {
		if l > int(n) {
			return 0, true
		}
		code |= int(b & 1)
		b >>= 1
		count := int(h.count[l])
		if code-first < count {
			return h.sorted[index+code-first]<<4 | uint16(l), true
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, false
}

// The codes of blocks that do not bring their own (RFC 1951, 3.2.6).
var fixedLit, fixedDist = func() (lit, dist *huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144, i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	lit, dist = new(huffman), new(huffman)
	lit.init(lengths[:])
	for i := range 32 {
		lengths[i] = 5
	}
	dist.init(lengths[:32])
	return lit, dist
}()
