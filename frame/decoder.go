package frame

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Decoder reads the frames of one client. The zero value is ready. It is for one
// goroutine at a time.
type Decoder struct {
	s *state
}

// Next consumes n bytes of in and returns the message that they complete, or the
// zero Message and n == len(in) if there is none. It writes to in.
//
// The error is a *CloseError; the decoder stays failed with it and takes no more
// input: n is len(in).
func (d *Decoder) Next(r *Rules, in []byte) (m Message, n int, err error) {
	s := d.s
	if s != nil {
		switch {
		case s.lent:
			d.settle()
			s = d.s
		case s.fault != nil:
			return Message{}, len(in), s.fault
		}
		if s == closed { // 5.5.1: data that follows a close frame is ignored
			return Message{}, len(in), nil
		}
	}

	for n < len(in) {
		s := d.s
		var h header
		fresh := s == nil || !s.inFrame
		if fresh {
			var size int
			var f *state
			h, size, f = d.header(r, in[n:])
			if f != nil {
				return d.fail(f, in)
			}
			if size == 0 {
				break
			}
			n += size
			s = d.s
		} else {
			h = s.frame
		}

		p := in[n:]
		p = p[:min(h.left, len(p)):min(h.left, len(p))]
		ws.Cipher(p, h.mask, int(h.phase)) // 5.3
		n += len(p)

		if fresh && len(p) == h.left {
			// All of the frame is here. If it is all of its message as well,
			// its payload stays where it is.
			if h.op.IsControl() {
				return d.deliver(h.op, p, in, n)
			}
			if h.fin && h.op != ws.OpContinuation {
				if h.op == ws.OpText && !utf8.Valid(p) { // 8.1
					return d.fail(faultText, in)
				}
				return Message{h.op, p}, n, nil
			}
		}

		s = d.own()
		if !h.op.IsControl() && h.op != ws.OpContinuation && fresh {
			s.open, s.op = true, h.op
		}
		if f := s.gather(h, p); f != nil {
			return d.fail(f, in)
		}
		if s.inFrame {
			break
		}
		if h.op.IsControl() {
			s.lent = true
			return d.deliver(h.op, s.buf[s.size:len(s.buf):len(s.buf)], in, n)
		}
		if h.fin {
			if s.op == ws.OpText && s.valid < s.size { // 8.1: it ends within a rune
				return d.fail(faultText, in)
			}
			s.open, s.lent = false, true
			return Message{s.op, s.buf[:s.size:s.size]}, n, nil
		}
	}
	return Message{}, len(in), nil
}

// header returns the next frame's header and how many bytes of in belong to it,
// or 0 after keeping all of in because the header goes on.
func (d *Decoder) header(r *Rules, in []byte) (h header, n int, f *state) {
	s := d.s
	if s == nil || s.headLen == 0 {
		h, n, f = parseHeader(in, s, r.maxMessage())
		if n == 0 && f == nil {
			s = d.own()
			s.headLen = uint8(copy(s.head[:], in))
		}
		return h, n, f
	}
	had := int(s.headLen)
	have := had + copy(s.head[had:], in)
	h, n, f = parseHeader(s.head[:have], s, r.maxMessage())
	if n == 0 {
		s.headLen = uint8(have)
		return h, 0, f
	}
	s.headLen = 0
	return h, n - had, nil
}

// gather adds p to the frame h, of which it is the next part.
func (s *state) gather(h header, p []byte) *state {
	s.buf = growBuffer(s.buf, len(p), len(s.buf)+h.left)
	s.buf = append(s.buf, p...)
	h.left -= len(p)
	h.phase = (h.phase + uint8(len(p)&3)) & 3
	s.frame, s.inFrame = h, h.left > 0
	if h.op.IsControl() {
		return nil
	}
	if s.op == ws.OpText { // 8.1, at the first byte that is wrong
		n, ok := validPrefix(s.buf[s.valid:])
		if !ok {
			return faultText
		}
		s.valid += n
	}
	if !s.inFrame {
		s.size = len(s.buf)
	}
	return nil
}

// deliver returns a control frame.
func (d *Decoder) deliver(op ws.OpCode, p, in []byte, n int) (Message, int, error) {
	if op == ws.OpClose {
		if f := checkClose(p); f != nil {
			return d.fail(f, in)
		}
		if d.s != nil && d.s.lent {
			d.s.last = true
		} else {
			d.drop(closed)
		}
	}
	return Message{op, p}, n, nil
}

func (d *Decoder) fail(f *state, in []byte) (Message, int, error) {
	d.drop(f)
	return Message{}, len(in), f.fault
}
