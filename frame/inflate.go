package frame

import (
	"bytes"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// inflateTail completes a compressed message. First come the four bytes that the
// peer has left out (RFC 7692, 7.2.2), the end of an empty stored block. Then
// comes one that is final, so that the reader ends with io.EOF and with nothing
// else if the message is complete.
const inflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// inflater is a decompressor with the 36 KiB that it works on. It is in use only
// while Next runs: a compressed message is gathered as it is, and inflated when
// all of it is there. So a peer that stops in the middle of one holds what it
// has sent, not a decompressor, and there are as many of these as goroutines
// that call Next.
type inflater struct {
	src  bytes.Reader
	r    io.ReadCloser // of flate, reads src
	over [1]byte       // takes the byte that exceeds the limit
}

var inflaters = sync.Pool{New: func() any {
	z := new(inflater)
	z.r = flate.NewReader(&z.src)
	return z
}}

func (z *inflater) reset(context []byte) {
	if err := z.r.(flate.Resetter).Reset(&z.src, context); err != nil {
		panic("BUG: " + err.Error()) // it only fails for want of a dictionary
	}
}

// inflate decompresses a whole message. deflated is a buffer of its own, which
// it frees; the result becomes s.buf. Text is checked as it appears, and what
// exceeds the limit is never stored.
func (s *state) inflate(r *Rules, op ws.OpCode, deflated []byte) *state {
	if len(deflated) == 0 {
		// 7.2.3.6 has an empty message be one byte, 00; some have left out
		// that as well.
		freeBuffer(deflated)
		s.buf = nil
		return nil
	}
	limit := r.maxInflated(len(deflated))
	deflated = growBuffer(deflated, len(inflateTail), 0)
	deflated = append(deflated, inflateTail...)
	z := inflaters.Get().(*inflater)
	z.src.Reset(deflated)
	z.reset(s.context)

	s.buf = newBuffer(min(limit, 4*len(deflated)))
	f, from := z.run(s, op, limit)

	z.src.Reset(nil)
	inflaters.Put(z)
	freeBuffer(deflated)
	if f == nil && s.contextBits != 0 {
		if from >= 0 {
			s.context = s.context[:0]
		}
		s.remember(s.buf[max(from, 0):])
	}
	return f
}

// run inflates to s.buf. from is where in it the history of the next message
// begins, or -1 if that goes back to messages before this one.
func (z *inflater) run(s *state, op ws.OpCode, limit int) (f *state, from int) {
	from = -1
	for {
		var n int
		var err error
		if len(s.buf) < limit {
			s.buf = growBuffer(s.buf, 1, limit)
			n, err = z.r.Read(s.buf[len(s.buf):min(cap(s.buf), limit)])
			s.buf = s.buf[:len(s.buf)+n]
		} else if n, err = z.r.Read(z.over[:]); n > 0 {
			return faultTooBig, from
		}
		if op == ws.OpText {
			n, ok := validPrefix(s.buf[s.valid:])
			if !ok {
				return faultText, from
			}
			s.valid += n
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			return faultDeflate, from
		}
		// A block was final: ours, or one of the peer's (7.2.3.4), behind which
		// another stream may begin, with no history.
		if z.src.Len() <= len(inflateTail) {
			break
		}
		from = len(s.buf)
		z.reset(nil)
	}
	if op == ws.OpText && s.valid < len(s.buf) { // it ends within a rune
		return faultText, from
	}
	return nil, from
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
