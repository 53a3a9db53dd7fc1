package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// inflateTail completes a compressed message. It begins with the four bytes that the peer has removed (RFC
// 7692, 7.2.2), the end of an empty stored block. A final block follows, so that the stream ends within
// inflateTail if and only if the message is complete.
const inflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

var (
	inflaters = sync.Pool{New: func() any { return new(inflater) }}
	tail      = []byte(inflateTail)
)

// startInflating prepares s for a compressed message.
func (s *state) startInflating() {
	s.z = inflaters.Get().(*inflater)
	s.z.reset()
}

// inflate inflates p, the next part of a compressed message, into s.buf. It checks text as it is inflated,
// and does not store bytes that exceed a limit. It returns the number of bytes of p that it has not
// consumed because the budget is spent.
func (s *state) inflate(r *Rules, op ws.OpCode, p []byte) (rest int, f *CloseError) {
	z := s.z
	z.src = p
	z.fed += len(p)
	for stop := needRoom; stop != needInput && stop != spentBudget; {
		if stop, f = s.run(r, op); f != nil {
			return 0, f
		}
	}
	rest = len(z.src)
	z.src = nil
	z.fed -= rest
	z.budget -= inputWork * (len(p) - rest)
	return rest, nil
}

// run inflates as far as there is room in s.buf, and makes more room if that is needed and allowed.
func (s *state) run(r *Rules, op ws.OpCode) (inflateStop, *CloseError) {
	z := s.z
	limit := min(cap(s.buf), r.maxInflated(z.consumed()))
	if len(z.src) > 0 { // else no input would be left to continue with
		limit = min(limit, len(s.buf)+z.budget)
	}
	out, stop := z.run(s.buf[:len(s.buf):max(len(s.buf), limit)], s.context)
	z.budget -= len(out) - len(s.buf)
	s.buf = s.buf[:len(out)]
	if op == ws.OpText { // RFC 6455, 8.1, at the first invalid byte
		n, ok := validPrefix(s.buf[s.valid:])
		if !ok {
			return stop, faultText
		}
		s.valid += uint32(n)
	}
	switch stop {
	case corrupt:
		return stop, faultDeflate
	case needRoom:
		room := r.maxInflated(z.consumed()) - len(s.buf)
		if room <= 0 {
			return stop, faultTooBig
		}
		if z.spent() {
			return spentBudget, nil
		}
		// JSON inflates to about four times its size. The buffer may double beyond room: at the maximum
		// ratio each symbol allows only little more.
		s.buf = growBuffer(s.buf, min(room, 4*len(z.src)+1), r.maxMessage())
	}
	return stop, nil
}

// finishInflating inflates the end of a compressed message, which is then complete in s.buf.
func (s *state) finishInflating(r *Rules, op ws.OpCode) *CloseError {
	z := s.z
	// An empty message is one byte, 00 (7.2.3.6); some clients send no byte. Nothing need follow a final
	// block (7.2.3.4).
	if z.fed > 0 && !(z.ended && z.n == 0) {
		z.src = tail
		z.fed += len(tail)
		for {
			z.budget = maxWork
			stop, f := s.run(r, op)
			if f != nil {
				return f
			}
			if stop == needInput {
				return faultDeflate
			}
			if stop == streamEnd {
				break
			}
		}
	}
	if op == ws.OpText && int(s.valid) < len(s.buf) { // the text ends within a rune
		return faultText
	}
	if s.contextBits != 0 {
		if z.start >= 0 {
			s.context = s.context[:0]
		}
		s.addContext(s.buf[max(z.start, 0):])
	}
	s.freeInflater()
	return nil
}

func (s *state) freeInflater() {
	if s.z != nil {
		s.z.src = nil // belongs to the caller of Next
		inflaters.Put(s.z)
		s.z = nil
	}
}

// addContext adds the end of a message to the context of the next one.
func (s *state) addContext(p []byte) {
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
