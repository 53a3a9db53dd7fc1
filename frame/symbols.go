package frame

import "encoding/binary"

// The base value of each length and distance symbol, and the number of extra bits that follow it and are
// added (RFC 1951, 3.2.5).
var (
	lengthOf = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	distOf   = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}

	lengthBits = [29]uint8{8: 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBits   = [30]uint8{4: 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbols decodes literals, lengths and distances to the end of the block. ok is false if it stops before
// the end. Most of the time is spent here, so symbols works on local variables.
func (z *inflater) symbols(out, context []byte) (_ []byte, stop inflateStop, ok bool) {
	lit, dst, src, b, n := z.litCodes, z.distCodes, z.src, z.b, z.n
	w, room := len(out), out[:cap(out)]
	for {
		if n < 48 {
			if len(src) >= 8 {
				// The bits above n in b are those of the next bytes, which are read again later.
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
			if entry, ok = lit.decodeLong(b, n); !ok {
				stop = corrupt
				break
			}
		}
		k := uint(entry & 15)
		if k == 0 || k > n {
			ok, stop = false, needInput
			break
		}
		symbol := entry >> 4
		if symbol < 256 {
			if w == len(room) {
				ok, stop = false, needRoom
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
			z.mode, ok = blockEnd, true
			break
		}
		if symbol -= 257; int(symbol) >= len(lengthOf) {
			ok, stop = false, corrupt
			break
		}
		extra := uint(lengthBits[symbol])
		length := int(lengthOf[symbol]) + int(b>>(k&63)&(1<<(extra&63)-1))
		k += extra
		if k > n {
			ok, stop = false, needInput
			break
		}

		entry = dst.root[b>>(k&63)&rootMask]
		if entry == 0 {
			if entry, ok = dst.decodeLong(b>>(k&63), n-k); !ok {
				stop = corrupt
				break
			}
		}
		d := uint(entry & 15)
		if d == 0 || k+d > n {
			ok, stop = false, needInput
			break
		}
		k += d
		if symbol = entry >> 4; int(symbol) >= len(distOf) {
			ok, stop = false, corrupt
			break
		}
		extra = uint(distBits[symbol])
		dist := int(distOf[symbol]) + int(b>>(k&63)&(1<<(extra&63)-1))
		k += extra
		if k > n {
			ok, stop = false, needInput
			break
		}
		history := w - z.start
		if z.start < 0 {
			history = w + len(context)
		}
		if dist > history {
			ok, stop = false, corrupt
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
			z.mode, ok, stop = matchCopy, false, needRoom
			break
		}
	}
	z.src, z.b, z.n = src, b, n
	return room[:w], stop, ok
}

// copy appends length bytes from dist bytes back, as far as there is room. The source may begin in the
// context, and may overlap the bytes that are appended.
func (z *inflater) copy(out, context []byte) []byte {
	k := min(z.length, cap(out)-len(out))
	z.length -= k
	if before := z.dist - len(out); before > 0 {
		from := context[len(context)-before:]
		n := min(k, len(from))
		out = append(out, from[:n]...)
		k -= n
	}
	// A source that overlaps is copied in parts that double in size.
	for start := len(out) - z.dist; k > 0; {
		n := min(k, len(out)-start)
		out = append(out, out[start:start+n]...)
		k -= n
	}
	return out
}
