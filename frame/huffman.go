package frame

import "math/bits"

const (
	maxCode  = 15 // maximum length of a code in bits (RFC 1951, 3.2.7)
	rootBits = 9  // codes up to this length are decoded by one lookup
	rootMask = 1<<rootBits - 1
)

// huffman decodes the codes of one alphabet of a deflated block. Codes are canonical (RFC 1951, 3.2.2), so
// the number of codes of each length is enough to decode bit by bit. Short codes, which are the frequent
// ones, are looked up in a table.
type huffman struct {
	// root has an entry for each value of the next rootBits bits: the symbol, shifted left by 4, and the
	// length of its code; or 0 if the code is longer or invalid.
	root   [1 << rootBits]uint16
	count  [maxCode + 1]uint16 // number of codes of each length
	sorted [288]uint16         // symbols in the order of their codes
	maxLen uint8               // length of the longest code
}

// init builds the codes with the given lengths. It returns false if the set of codes is incomplete or
// oversubscribed. Like zlib and Go it accepts two incomplete sets: the empty one, and a single code of one
// bit.
func (h *huffman) init(lengths []uint8) bool {
	h.count = [maxCode + 1]uint16{}
	for _, n := range lengths {
		h.count[n&maxCode]++
	}
	h.count[0] = 0
	h.maxLen = 0
	var code int
	var next, at [maxCode + 1]uint16 // by length: the next code, and its index in sorted
	for n := 1; n <= maxCode; n++ {
		at[n] = at[n-1] + h.count[n-1]
		code <<= 1
		next[n] = uint16(code)
		code += int(h.count[n])
		if h.count[n] != 0 {
			h.maxLen = uint8(n)
			if code > 1<<n {
				return false
			}
		}
	}
	code >>= maxCode - h.maxLen
	if h.maxLen != 0 && code != 1<<h.maxLen && (code != 1 || h.maxLen != 1) {
		return false
	}

	used := 1 << min(h.maxLen, rootBits)
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
		// The first bit of a code is the lowest (RFC 1951, 3.1.1).
		for i := int(bits.Reverse16(code) >> (16 - n)); i < used; i += 1 << n {
			h.root[i] = uint16(symbol<<4) | uint16(n)
		}
	}
	for ; used < len(h.root); used *= 2 {
		copy(h.root[used:], h.root[:used])
	}
	return true
}

// decodeLong decodes the code at the beginning of b, of which n bits have arrived, bit by bit. It returns an
// entry like those of root, or 0 if the code is incomplete. ok is false if no code begins with these bits.
func (h *huffman) decodeLong(b uint64, n uint) (entry uint16, ok bool) {
	var code, first, index int
	for l := 1; l <= int(h.maxLen); l++ {
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

// The codes of blocks with fixed codes (RFC 1951, 3.2.6).
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
