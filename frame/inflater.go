package frame

// inflater decodes a deflated stream (RFC 1951) that arrives in parts. It can stop after any byte and
// continue with the next, which no library's reader can. Its window is the message that it writes, so it
// needs 3.6 KiB only, most of it for the codes of a block.
//
// It decodes one element at a time, when all its bits have arrived: the header of a block, the length of
// a code, a literal, or a length with its distance. An element has at most 48 bits, so b can hold the bits
// that remain between two parts.
type inflater struct {
	src []byte // the rest of the current part
	b   uint64 // bits that were read from src and are not consumed, the next one lowest
	n   uint   // number of bits in b
	fed int    // bytes of the message so far, including those in src and b

	budget int // work that may be done before the rest of src is returned

	// start is the offset in the output at which the history begins, which is as far as a distance may
	// reach back; or -1 if the history begins with the context of earlier messages.
	start int

	mode  inflateMode
	final bool // this is the last block of the stream
	ended bool // the stream has ended; another may begin

	length, dist int // of the copy in progress

	// The header of a block with dynamic codes (RFC 1951, 3.2.7).
	literals, dists, codes, at int
	lengths                    [286 + 30]uint8

	litCodes, distCodes *huffman // dynamic or fixed
	dynamic             [2]huffman
}

type inflateMode uint8

// These constants name what the inflater decodes next.
const (
	blockHeader       inflateMode = iota
	storedLength                  // the length of a stored block
	storedBytes                   // length bytes of a stored block
	codeCounts                    // the numbers of codes of a block with dynamic codes
	codeLengthLengths             // a code length of the code length alphabet
	codeLengths                   // a code length
	blockSymbols                  // literals and lengths with distances
	matchCopy                     // length bytes, copied from dist bytes back
	blockEnd
)

// inflateStop is the reason why run returns.
type inflateStop uint8

const (
	needInput   inflateStop = iota // src is empty
	needRoom                       // the output buffer is full
	spentBudget                    // the rest of src must be passed again
	streamEnd                      // a final block has ended
	corrupt
)

func (z *inflater) reset() {
	z.src, z.b, z.n, z.fed, z.budget = nil, 0, 0, 0, maxWork
	z.start, z.mode, z.final, z.ended = -1, blockHeader, false, false
}

// consumed returns how many bytes of the message the output was made of.
func (z *inflater) consumed() int { return z.fed - len(z.src) - int(z.n/8) }

// spent reports whether the budget is spent. Without input that could be returned the inflater continues
// with the bits in b.
func (z *inflater) spent() bool { return z.budget <= 0 && len(z.src) > 0 }

// need reads from src until b has k bits, at most 56, and reports whether it has.
func (z *inflater) need(k uint) bool {
	for z.n < k && len(z.src) > 0 {
		z.b |= uint64(z.src[0]) << z.n
		z.src = z.src[1:]
		z.n += 8
	}
	return z.n >= k
}

// take consumes k bits and returns them.
func (z *inflater) take(k uint) int {
	v := z.b & (1<<k - 1)
	z.b >>= k
	z.n -= k
	return int(v)
}

// run inflates src and appends to out, up to its capacity. context is the output before out.
func (z *inflater) run(out, context []byte) ([]byte, inflateStop) {
	for {
		switch z.mode {
		case blockHeader: // RFC 1951, 3.2.3
			if z.spent() {
				return out, spentBudget
			}
			if !z.need(3) {
				return out, needInput
			}
			if z.ended { // a stream that follows a final block has no history (RFC 7692, 7.2.3.4)
				z.ended, z.start = false, len(out)
			}
			z.final = z.take(1) == 1
			switch z.take(2) {
			case 0:
				z.take(z.n % 8) // 3.2.4: the rest of the byte is ignored
				z.mode = storedLength
			case 1:
				z.litCodes, z.distCodes = fixedLit, fixedDist
				z.mode = blockSymbols
			case 2:
				z.mode = codeCounts
			default:
				return out, corrupt
			}

		case storedLength: // 3.2.4
			if !z.need(32) {
				return out, needInput
			}
			z.length = z.take(16)
			if z.take(16) != z.length^0xffff {
				return out, corrupt
			}
			z.mode = storedBytes

		case storedBytes:
			for z.n >= 8 && z.length > 0 {
				if len(out) == cap(out) {
					return out, needRoom
				}
				out = append(out, byte(z.take(8)))
				z.length--
			}
			if z.n == 0 {
				z.b = 0 // symbols leaves bits above n in b, which are read from src again
			}
			k := min(z.length, len(z.src), cap(out)-len(out))
			out = append(out, z.src[:k]...)
			z.src = z.src[k:]
			z.length -= k
			switch {
			case z.length == 0:
				z.mode = blockEnd
			case len(z.src) == 0:
				return out, needInput
			default:
				return out, needRoom
			}

		case codeCounts, codeLengthLengths, codeLengths:
			if stop, ok := z.readCodes(); !ok {
				return out, stop
			}

		case blockSymbols:
			var stop inflateStop
			var ok bool
			if out, stop, ok = z.symbols(out, context); !ok {
				return out, stop
			}

		case matchCopy:
			if out = z.copy(out, context); z.length > 0 {
				return out, needRoom
			}
			z.mode = blockSymbols

		case blockEnd:
			z.mode = blockHeader
			if z.final {
				z.take(z.n % 8)
				z.ended = true
				return out, streamEnd
			}
		}
	}
}
