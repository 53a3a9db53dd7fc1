package frame

import "github.com/gobwas/ws"

// partialFrame handles p, the next part of a frame's payload, when the frame is not all in one read, is a
// fragment, or is compressed: the message is assembled in s.buf. The last rest bytes of p were not
// consumed because the budget is spent, and must be passed again.
func (d *Decoder) partialFrame(r *Rules, h header, p []byte, first bool) (m Message, rest int, f *CloseError) {
	s := d.ownState()
	h.left -= len(p)
	h.phase = (h.phase + uint8(len(p)&3)) & 3
	s.frame, s.inFrame = h, h.left > 0
	if h.op.IsControl() {
		m, f = s.controlFrame(r, h, p)
		return m, 0, f
	}

	if first && h.op != ws.OpContinuation {
		s.inMessage, s.op, s.empty = true, h.op, 0
		if h.deflated {
			s.startInflating()
		}
	}
	if first && !s.inFrame && len(p) == 0 && !h.fin {
		// An empty fragment costs work and no memory, so no other limit applies to it.
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
		f = s.appendPlain(r, h, p)
	}
	if f != nil || s.inFrame {
		return m, rest, f
	}
	s.complete = uint32(len(s.buf))
	if h.fin {
		m, f = s.endMessage(r, s.op)
	}
	return m, 0, f
}

// controlFrame handles a part of a control frame. Its payload follows the message that it interrupts in
// s.buf.
func (s *state) controlFrame(r *Rules, h header, p []byte) (m Message, f *CloseError) {
	s.append(r, h, p)
	if s.inFrame {
		return m, nil
	}
	p = s.buf[s.complete:len(s.buf):len(s.buf)]
	if h.op == ws.OpClose {
		if f = checkClose(p); f != nil {
			return m, f
		}
		s.gotClose = true
	}
	s.borrowed = true
	return Message{h.op, p}, nil
}

// appendPlain handles a part of a message that is not compressed.
func (s *state) appendPlain(r *Rules, h header, p []byte) *CloseError {
	s.append(r, h, p)
	if s.op == ws.OpText { // 8.1, at the first invalid byte
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

// grow makes room for n bytes of a frame. The buffer need not become larger than what can follow: the
// rest of the frame if it is the last of its message, else the largest message, and a control frame after
// it.
func (s *state) grow(r *Rules, h header, n int) {
	most := len(s.buf) + n + h.left
	switch {
	case !h.fin:
		most = r.maxMessage()
	case s.inMessage && h.op.IsControl():
		most = r.maxMessage() + ws.MaxControlFramePayloadSize
	}
	s.buf = growBuffer(s.buf, n, most)
}

// endMessage returns the message in s.buf, which the caller borrows.
func (s *state) endMessage(r *Rules, op ws.OpCode) (m Message, f *CloseError) {
	if s.z != nil {
		if f = s.finishInflating(r, op); f != nil {
			return m, f
		}
	} else if op == ws.OpText && int(s.valid) < len(s.buf) { // 8.1: the text ends within a rune
		return m, faultText
	}
	s.inMessage, s.borrowed = false, true
	return Message{op, s.buf[:len(s.buf):len(s.buf)]}, nil
}
