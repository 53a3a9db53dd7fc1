package frame

import (
	"unicode/utf8"
	"unsafe"

	"github.com/gobwas/ws"
)

// Message is what a peer sent: a whole text or binary message, or one control
// frame. The zero Message, with Op 0 (ws.OpContinuation), means that nothing is
// complete yet.
type Message struct {
	Op ws.OpCode // OpText, OpBinary, OpPing, OpPong, OpClose, or 0

	// Payload is borrowed until the next call of Next or Release. That of a
	// close frame is valid: empty, or what ParseClose takes without an error.
	Payload []byte
}

// Decoder reads the frames of one client. The zero value is ready. It is for one
// goroutine at a time.
type Decoder struct {
	s *state
}

// Start tells d what the handshake negotiated, before the first call of Next. It
// is not needed for zero Params.
func (d *Decoder) Start(p Params) { d.drop(atRest(p.ServerBits != 0, p.ContextBits)) }

// Next consumes n bytes of in and returns the message that they complete, or the
// zero Message if there is none: with n == len(in), or after some work, so that
// the caller may look at something else before it goes on. It writes to in.
//
// The error is a *CloseError; the decoder stays failed with it and takes no more
// input: n is len(in).
func (d *Decoder) Next(r *Rules, in []byte) (m Message, n int, err error) {
	if d.s != nil && d.s.lent {
		d.settle()
	}
	switch s := d.s; {
	case s == nil:
		if m, n = fastNext(r, in); n > 0 {
			return m, n, nil
		}
	case s == closed: // 5.5.1: what follows a close frame is ignored
		return m, len(in), nil
	case s.fault != nil:
		return m, len(in), s.fault
	case s.z != nil:
		s.z.work = maxWork
	}

	for frames := 0; n < len(in) && m.Op == 0 && frames < maxFrames; frames++ {
		var h header
		var f *CloseError
		first := d.s == nil || !d.s.inFrame // the payload begins in this read
		if first {
			var size int
			if h, size, f = d.header(r, in[n:]); f != nil {
				return d.fail(f, in)
			}
			if size == 0 {
				return m, len(in), nil // it does not end in this read
			}
			n += size
		} else {
			h = d.s.frame
		}

		k := min(h.left, len(in)-n)
		deflated := h.deflated || h.op == ws.OpContinuation && d.s.z != nil
		if deflated {
			k = min(k, maxDeflatedPart)
		}
		p := in[n : n+k : n+k]
		n += k
		ws.Cipher(p, h.mask, int(h.phase)) // 5.3

		if first && k == h.left && !deflated && (h.op.IsControl() || h.fin && h.op != ws.OpContinuation) {
			m, f = d.whole(h, p)
		} else {
			var rest int
			m, rest, f = d.part(r, h, p, first)
			n -= rest
		}
		if f != nil {
			return d.fail(f, in)
		}
		if deflated && m.Op == 0 && d.s.z.work <= 0 {
			break
		}
	}
	return m, n, nil
}

// maxFrames is how many frames without a message Next takes at a time: 64 of a
// byte each are 2 µs of work, and a read of 64 KiB may have 9,000.
const maxFrames = 64

// maxWork is how much Next inflates at a time: a read may be 5,700 blocks that bring
// codes, or become 64 MiB. The unit is what it takes to inflate to one byte, 2 ns
// for most text, 9 at worst. No bits that have been read before become as much, so
// that each call takes some input.
const (
	maxWork   = 8 << 10
	codesWork = 1 << 10 // 2.4 µs
	inputWork = 2       // for a compressed byte: up to 15 bits of it may be a byte

	// What is left of a part goes back, so it is not to be unmasked for nothing.
	maxDeflatedPart = maxWork / inputWork
)

// header returns the next frame's header and how many bytes of in belong to it,
// or 0 after keeping all of in because the header goes on.
func (d *Decoder) header(r *Rules, in []byte) (h header, n int, f *CloseError) {
	s := d.s
	if s == nil || s.headLen == 0 {
		h, n, f = parseHeader(in, s, r)
		if n == 0 && f == nil {
			s = d.own()
			s.headLen = uint8(copy(s.head[:], in))
		}
		return h, n, f
	}
	had := int(s.headLen)
	have := had + copy(s.head[had:], in)
	h, n, f = parseHeader(s.head[:have], s, r)
	if n == 0 {
		s.headLen = uint8(have)
		return h, 0, f
	}
	s.headLen = 0
	if !s.open {
		d.settle() // the payload may not need a state
	}
	return h, n - had, nil
}

// whole takes a frame that is all of its message, not compressed and all in p. Its
// payload stays where it is.
func (d *Decoder) whole(h header, p []byte) (m Message, f *CloseError) {
	switch {
	case h.op == ws.OpText && !utf8.Valid(p): // 8.1
		return m, faultText
	case h.op == ws.OpClose:
		if f = checkClose(p); f != nil {
			return m, f
		}
		d.drop(closed)
	}
	return Message{h.op, p}, nil
}

// Held is how many bytes of memory an unfinished message takes, that of its inflater
// included, 0 if there is none.
func (d *Decoder) Held() int {
	if d.s == nil || d.s.shared || d.s.lent {
		return 0
	}
	n := cap(d.s.buf)
	if d.s.z != nil {
		n += int(unsafe.Sizeof(*d.s.z))
	}
	return n
}

// part takes p, the next part of the payload of a frame of which there is more
// to come or of whose message there is, or which is compressed: it is gathered in
// a buffer. The last rest bytes of p are to come again, when work is done.
func (d *Decoder) part(r *Rules, h header, p []byte, first bool) (m Message, rest int, f *CloseError) {
	s := d.own()
	h.left -= len(p)
	h.phase = (h.phase + uint8(len(p)&3)) & 3
	s.frame, s.inFrame = h, h.left > 0
	if h.op.IsControl() {
		m, f = s.control(r, h, p)
		return m, 0, f
	}

	if first && h.op != ws.OpContinuation {
		s.open, s.op, s.empty = true, h.op, 0
		if h.deflated {
			s.begin()
		}
	}
	if first && !s.inFrame && len(p) == 0 && !h.fin {
		// They cost work and no memory, so that no other limit ends them.
		if s.empty++; s.empty > maxEmpty {
			return m, 0, faultEmpty
		}
	}
	if s.z != nil {
		if rest, f = s.inflate(r, s.op, p); rest > 0 {
			s.frame.left += rest
			s.frame.phase = (h.phase - uint8(rest&3)) & 3
			s.inFrame = true
			ws.Cipher(p[len(p)-rest:], h.mask, int(s.frame.phase)) // masks it again
		}
	} else {
		f = s.gather(r, h, p)
	}
	if f != nil || s.inFrame {
		return m, rest, f
	}
	s.size = uint32(len(s.buf))
	if h.fin {
		m, f = s.end(r, s.op)
	}
	return m, 0, f
}

// control takes a part of a control frame. It stands in the buffer behind the
// message that it interrupts.
func (s *state) control(r *Rules, h header, p []byte) (m Message, f *CloseError) {
	s.append(r, h, p)
	if s.inFrame {
		return m, nil
	}
	p = s.buf[s.size:len(s.buf):len(s.buf)]
	if h.op == ws.OpClose {
		if f = checkClose(p); f != nil {
			return m, f
		}
		s.last = true
	}
	s.lent = true
	return Message{h.op, p}, nil
}

// gather takes a part of a message that is not compressed.
func (s *state) gather(r *Rules, h header, p []byte) *CloseError {
	s.append(r, h, p)
	if s.op == ws.OpText { // 8.1, at the first byte that is wrong
		n, ok := validPrefix(s.buf[s.valid:])
		if !ok {
			return faultText
		}
		s.valid += uint32(n)
	}
	return nil
}

func (s *state) append(r *Rules, h header, p []byte) {
	if len(s.buf)+len(p) > cap(s.buf) {
		s.grow(r, h, len(p))
	}
	s.buf = append(s.buf, p...)
}

// grow makes room for n bytes of a frame. The buffer need not become larger than
// what is to come: the frame if it is the last of its message, and if not, all that
// a message may have, with a control frame behind it.
func (s *state) grow(r *Rules, h header, n int) {
	most := len(s.buf) + n + h.left
	switch {
	case !h.fin:
		most = r.maxMessage()
	case s.open && h.op.IsControl():
		most = r.maxMessage() + ws.MaxControlFramePayloadSize
	}
	s.buf = growBuffer(s.buf, n, most)
}

// end lends the message that is in the buffer.
func (s *state) end(r *Rules, op ws.OpCode) (m Message, f *CloseError) {
	if s.z != nil {
		if f = s.finish(r, op); f != nil {
			return m, f
		}
	} else if op == ws.OpText && int(s.valid) < len(s.buf) { // 8.1: it ends within a rune
		return m, faultText
	}
	s.open, s.lent = false, true
	return Message{op, s.buf[:len(s.buf):len(s.buf)]}, nil
}

func (d *Decoder) fail(f *CloseError, in []byte) (Message, int, error) {
	d.drop(failedStates[f])
	return Message{}, len(in), f
}
