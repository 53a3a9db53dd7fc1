package frame

import "encoding/binary"

// inflater reads a deflated stream (RFC 1951) that comes in parts, cut anywhere:
// it stops after any byte and goes on with the next, which no library's reader
// does. What it has made so far is the message itself, so it needs no window of
// its own: 3.6 KiB, most of it for a block's codes.
//
// It takes one element at a time, when all of its bits are there: a block's
// header, a code's length, a literal, a length with its distance. No element has
// more than 48 bits, so all that is left between two parts fits into b.
type inflater struct {
	src []byte // of the part that is being read, what is not in b yet
	b   uint64 // bits that have been read and not been used, the next one lowest
	n   uint   // how many
	in  int    // bytes of the message so far, those in src and b included

	work int // what may be done before src goes back

	// from is where in the output the history begins that a distance may reach
	// back to, or -1 if that begins with the context of earlier messages.
	from int

	mode  inflateMode
	final bool // the block is the stream's last
	ended bool // the stream has ended; another may begin

	length, dist int // of what is being copied

	// The header of a block that brings its codes (RFC 1951, 3.2.7).
	literals, dists, codes, at int
	lengths                    [286 + 30]uint8

	lit, dst *huffman // own, or the fixed ones
	own      [2]huffman
}

type inflateMode uint8

const (
	atBlock    inflateMode = iota // before a block
	atStored                      // before the length of a stored block
	inStored                      // length bytes are to be copied from the input
	atCodes                       // before the numbers of codes
	inCodes                       // before a code length of the code length alphabet
	inLengths                     // before a code length
	atSymbol                      // before a literal or a length
	atCopy                        // length bytes are to be copied from dist back
	afterBlock                    // behind its last element
)

// What run has stopped for.
type inflateStop uint8

const (
	wantsInput inflateStop = iota // src is empty
	wantsRoom                     // there is more output than room
	hasWorked                     // src is to come again
	streamEnd                     // a final block ended
	isCorrupt
)

func (z *inflater) reset() {
	z.src, z.b, z.n, z.in, z.work = nil, 0, 0, 0, maxWork
	z.from, z.mode, z.final, z.ended = -1, atBlock, false, false
}

// used returns the bytes of the message that what came out is made of.
func (z *inflater) used() int { return z.in - len(z.src) - int(z.n/8) }

// worked reports whether enough is done for now. It is not if there is no input
// that could come again, but bits in b.
func (z *inflater) worked() bool { return z.work <= 0 && len(z.src) > 0 }

// need reports whether k bits are there, at most 56.
func (z *inflater) need(k uint) bool {
	for z.n < k && len(z.src) > 0 {
		z.b |= uint64(z.src[0]) << z.n
		z.src = z.src[1:]
		z.n += 8
	}
	return z.n >= k
}

func (z *inflater) take(k uint) int {
	v := z.b & (1<<k - 1)
	z.b >>= k
	z.n -= k
	return int(v)
}

// run inflates src and appends to out, up to its capacity at most. context is
// what was inflated before out.
func (z *inflater) run(out, context []byte) ([]byte, inflateStop) {
	for {
		switch z.mode {
		case atBlock: // RFC 1951, 3.2.3
			if z.worked() {
				return out, hasWorked
			}
			if !z.need(3) {
				return out, wantsInput
			}
			if z.ended { // behind a final block there is no history (RFC 7692, 7.2.3.4)
				z.ended, z.from = false, len(out)
			}
			z.final = z.take(1) == 1
			switch z.take(2) {
			case 0:
				z.take(z.n % 8) // 3.2.4: the rest of the byte is ignored
				z.mode = atStored
			case 1:
				z.lit, z.dst = fixedLit, fixedDist
				z.mode = atSymbol
			case 2:
				z.mode = atCodes
			default:
				return out, isCorrupt
			}

		case atStored: // 3.2.4
			if !z.need(32) {
				return out, wantsInput
			}
			z.length = z.take(16)
			if z.take(16) != z.length^0xffff {
				return out, isCorrupt
			}
			z.mode = inStored

		case inStored:
			for z.n >= 8 && z.length > 0 {
				if len(out) == cap(out) {
					return out, wantsRoom
				}
				out = append(out, byte(z.take(8)))
				z.length--
			}
			if z.n == 0 {
				z.b = 0 // bits that were read ahead are to be read again
			}
			k := min(z.length, len(z.src), cap(out)-len(out))
			out = append(out, z.src[:k]...)
			z.src = z.src[k:]
			z.length -= k
			switch {
			case z.length == 0:
				z.mode = afterBlock
			case len(z.src) == 0:
				return out, wantsInput
			default:
				return out, wantsRoom
			}

		case atCodes, inCodes, inLengths:
			if stop, ok := z.header(); !ok {
				return out, stop
			}

		case atSymbol:
			var stop inflateStop
			var ok bool
			if out, stop, ok = z.symbols(out, context); !ok {
				return out, stop
			}

		case atCopy:
			if out = z.copy(out, context); z.length > 0 {
				return out, wantsRoom
			}
			z.mode = atSymbol

		case afterBlock:
			z.mode = atBlock
			if z.final {
				z.take(z.n % 8)
				z.ended = true
				return out, streamEnd
			}
		}
	}
}

// What a length or distance symbol stands for, and how many bits follow it that
// are to be added (RFC 1951, 3.2.5).
var (
	lengthOf = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	distOf   = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}

	lengthBits = [29]uint8{8: 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBits   = [30]uint8{4: 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbols reads literals, lengths and distances to the end of the block. It is
// false if it stops before that. It is where the time goes, so what it works on
// is in local variables.
func (z *inflater) symbols(out, context []byte) (_ []byte, stop inflateStop, ok bool) {
	lit, dst, src, b, n := z.lit, z.dst, z.src, z.b, z.n
	w, room := len(out), out[:cap(out)]
	for {
		if n < 48 {
			if len(src) >= 8 {
				// Bits beyond those that n counts are read again, to the same.
				b |= binary.LittleEndian.Uint64(src) << (n & 63)
				src = src[(63-n)/8:]
				n |= 56
			} else {
				for n < 48 && len(src) > 0 {
					b |= uint64(src[0]) << (n & 63)
					src = src[1:]
					n += 8
				}
			}
		}
		entry := lit.root[b&rootMask]
		if entry == 0 {
			if entry, ok = lit.find(b, n); !ok {
				stop = isCorrupt
				break
			}
		}
		k := uint(entry & 15)
		if k == 0 || k > n {
			ok, stop = false, wantsInput
			break
		}
		symbol := entry >> 4
		if symbol < 256 {
			if w == len(room) {
				ok, stop = false, wantsRoom
				break
			}
			room[w] = byte(symbol)
			w++
			b >>= k & 63
			n -= k
			continue
		}
		if symbol == 256 {
			b >>= k & 63
			n -= k
			z.mode, ok = afterBlock, true
			break
		}
		if symbol -= 257; int(symbol) >= len(lengthOf) {
			ok, stop = false, isCorrupt
			break
		}
		extra := uint(lengthBits[symbol])
		length := int(lengthOf[symbol]) + int(b>>(k&63)&(1<<(extra&63)-1))
		k += extra
		if k > n {
			ok, stop = false, wantsInput
			break
		}

		entry = dst.root[b>>(k&63)&rootMask]
		if entry == 0 {
			if entry, ok = dst.find(b>>(k&63), n-k); !ok {
				stop = isCorrupt
				break
			}
		}
		d := uint(entry & 15)
		if d == 0 || k+d > n {
			ok, stop = false, wantsInput
			break
		}
		k += d
		if symbol = entry >> 4; int(symbol) >= len(distOf) {
			ok, stop = false, isCorrupt
			break
		}
		extra = uint(distBits[symbol])
		dist := int(distOf[symbol]) + int(b>>(k&63)&(1<<(extra&63)-1))
		k += extra
		if k > n {
			ok, stop = false, wantsInput
			break
		}
		history := w - z.from
		if z.from < 0 {
			history = w + len(context)
		}
		if dist > history {
			ok, stop = false, isCorrupt
			break
		}
		b >>= k & 63
		n -= k
		if dist >= length && dist <= w && length <= len(room)-w {
			copy(room[w:w+length], room[w-dist:])
			w += length
			continue
		}
		z.length, z.dist = length, dist
		w = len(z.copy(room[:w], context))
		if z.length > 0 {
			z.mode, ok, stop = atCopy, false, wantsRoom
			break
		}
	}
	z.src, z.b, z.n = src, b, n
	return room[:w], stop, ok
}

// copy appends length bytes from dist back, as far as there is room. They may
// begin in the context, and may reach into what they become.
func (z *inflater) copy(out, context []byte) []byte {
	k := min(z.length, cap(out)-len(out))
	z.length -= k
	if before := z.dist - len(out); before > 0 {
		from := context[len(context)-before:]
		n := min(k, len(from))
		out = append(out, from[:n]...)
		k -= n
	}
	// What repeats is copied in ever larger parts.
	for start := len(out) - z.dist; k > 0; {
		n := min(k, len(out)-start)
		out = append(out, out[start:start+n]...)
		k -= n
	}
	return out
}
