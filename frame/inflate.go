package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// inflateTail completes a compressed message. First come the four bytes that the
// peer has left out (RFC 7692, 7.2.2), the end of an empty stored block. Then
// comes one that is final, so that the stream ends in here if the message is
// complete, and nowhere if it is not.
const inflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

var (
	inflaters = sync.Pool{New: func() any { return new(inflater) }}
	tail      = []byte(inflateTail)
)

// begin makes s ready for a compressed message.
func (s *state) begin() {
	s.z = inflaters.Get().(*inflater)
	s.z.reset()
}

// inflate adds p, the next part of a compressed message, to s.buf. Text is checked
// as it appears, and what exceeds the limit is never stored. It stops before the
// last rest bytes of p if it has done its work.
func (s *state) inflate(r *Rules, op ws.OpCode, p []byte) (rest int, f *CloseError) {
	z := s.z
	z.src = p
	z.in += len(p)
	for stop := wantsRoom; stop != wantsInput && stop != hasWorked; {
		if stop, f = s.run(r, op); f != nil {
			return 0, f
		}
	}
	rest = len(z.src)
	z.src = nil
	z.in -= rest
	z.work -= inputWork * (len(p) - rest)
	return rest, nil
}

// run inflates as far as there is room in s.buf, and makes more of that if it is
// needed.
func (s *state) run(r *Rules, op ws.OpCode) (inflateStop, *CloseError) {
	z := s.z
	limit := min(cap(s.buf), r.maxInflated(z.used()))
	if len(z.src) > 0 { // else there is nothing to come again for
		limit = min(limit, len(s.buf)+z.work)
	}
	out, stop := z.run(s.buf[:len(s.buf):max(len(s.buf), limit)], s.context)
	z.work -= len(out) - len(s.buf)
	s.buf = s.buf[:len(out)]
	if op == ws.OpText { // RFC 6455, 8.1, at the first byte that is wrong
		n, ok := validPrefix(s.buf[s.valid:])
		if !ok {
			return stop, faultText
		}
		s.valid += uint32(n)
	}
	switch stop {
	case isCorrupt:
		return stop, faultDeflate
	case wantsRoom:
		room := r.maxInflated(z.used()) - len(s.buf)
		if room <= 0 {
			return stop, faultTooBig
		}
		if z.worked() {
			return hasWorked, nil
		}
		// Four times is what JSON gets. The buffer may double beyond what there
		// is room for now, which at the edge of the ratio is little more with
		// each symbol.
		s.buf = growBuffer(s.buf, min(room, 4*len(z.src)+1), r.maxMessage())
	}
	return stop, nil
}

// finish ends a compressed message, which is then all in s.buf.
func (s *state) finish(r *Rules, op ws.OpCode) *CloseError {
	z := s.z
	// 7.2.3.6 has an empty message be one byte, 00; some have left out that as
	// well. A final block need not be followed by anything (7.2.3.4).
	if z.in > 0 && !(z.ended && z.n == 0) {
		z.src = tail
		z.in += len(tail)
		for {
			z.work = maxWork
			stop, f := s.run(r, op)
			if f != nil {
				return f
			}
			if stop == wantsInput {
				return faultDeflate
			}
			if stop == streamEnd {
				break
			}
		}
	}
	if op == ws.OpText && int(s.valid) < len(s.buf) { // it ends within a rune
		return faultText
	}
	if s.contextBits != 0 {
		if z.from >= 0 {
			s.context = s.context[:0]
		}
		s.remember(s.buf[max(z.from, 0):])
	}
	s.freeInflater()
	return nil
}

func (s *state) freeInflater() {
	if s.z != nil {
		s.z.src = nil // it is in the reader's buffer
		inflaters.Put(s.z)
		s.z = nil
	}
}

// remember adds the end of a message to the context of the next one.
func (s *state) remember(p []byte) {
	window := 1 << s.contextBits
	if len(p) > window {
		p = p[len(p)-window:]
	}
	if over := len(s.context) + len(p) - window; over > 0 {
		s.context = s.context[:copy(s.context, s.context[over:])]
	}
	s.context = growBuffer(s.context, len(p), window)
	s.context = append(s.context, p...)
}
