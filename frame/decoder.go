package frame

import (
	"unicode/utf8"
	"unsafe"

	"github.com/gobwas/ws"
)

// Message is a whole text or binary message, or one control frame. The zero Message, with Op 0
// (ws.OpContinuation), means that no message is complete yet.
type Message struct {
	Op ws.OpCode // OpText, OpBinary, OpPing, OpPong, OpClose, or 0

	// Payload is borrowed until the next call of Next or Release. The payload of a close frame is valid:
	// ParseClose returns no error for it.
	Payload []byte
}

// Decoder decodes the frames of one client. The zero value is ready. A Decoder must not be used by two
// goroutines at the same time.
type Decoder struct {
	s *state
}

// Start sets what the handshake negotiated. It must be called before Next; zero Params need no call.
func (d *Decoder) Start(p Params) { d.setState(idleState(p.ServerBits != 0, p.ContextBits)) }

// Next consumes n bytes of in and returns the message that they complete. It returns the zero Message if
// no message is complete: with n == len(in), or with a smaller n after a limited amount of work, so that
// the caller may yield before it continues with in[n:]. Next writes to in.
//
// The error is a *CloseError. After an error the decoder discards all input and returns the same error.
func (d *Decoder) Next(r *Rules, in []byte) (m Message, n int, err error) {
	if d.s != nil && d.s.borrowed {
		d.reclaim()
	}
	switch s := d.s; {
	case s == nil:
		if m, n = fastNext(r, in); n > 0 {
			return m, n, nil
		}
	case s == closed: // 5.5.1: bytes that follow a close frame are ignored
		return m, len(in), nil
	case s.fault != nil:
		return m, len(in), s.fault
	case s.z != nil:
		s.z.budget = maxWork
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
				return m, len(in), nil // the header is incomplete
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
			m, f = d.wholeFrame(h, p)
		} else {
			var rest int
			m, rest, f = d.partialFrame(r, h, p, first)
			n -= rest
		}
		if f != nil {
			return d.fail(f, in)
		}
		if deflated && m.Op == 0 && d.s.z.budget <= 0 {
			break
		}
	}
	return m, n, nil
}

// maxFrames is the number of frames that Next decodes in one call if they complete no message: a read of
// 64 KiB may have 9,000.
const maxFrames = 64

// maxWork limits how much Next inflates in one call, because a read may have 5,700 blocks with codes of
// their own, or inflate to 64 MiB. One unit is the work for one byte of output. Bits that were read before
// cannot inflate to maxWork bytes, so each call consumes some input.
const (
	maxWork   = 8 << 10
	codesWork = 1 << 10 // for the codes of a block
	inputWork = 2       // for a byte of input, as up to 15 of its bits may stand for one byte of output

	// Next unmasks only as much of a compressed frame as it can inflate in one call: the input that
	// inflate returns must be masked again.
	maxDeflatedPart = maxWork / inputWork
)

// header returns the header of the next frame and how many bytes of in belong to it. If the header is
// incomplete it stores all of in and returns 0.
func (d *Decoder) header(r *Rules, in []byte) (h header, n int, f *CloseError) {
	s := d.s
	if s == nil || s.headLen == 0 {
		h, n, f = parseHeader(in, s, r)
		if n == 0 && f == nil {
			s = d.ownState()
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
	if !s.inMessage {
		d.reclaim() // the payload may not need a state
	}
	return h, n - had, nil
}

// wholeFrame returns the message that is one uncompressed frame with the payload p, without a copy.
func (d *Decoder) wholeFrame(h header, p []byte) (m Message, f *CloseError) {
	switch {
	case h.op == ws.OpText && !utf8.Valid(p): // 8.1
		return m, faultText
	case h.op == ws.OpClose:
		if f = checkClose(p); f != nil {
			return m, f
		}
		d.setState(closed)
	}
	return Message{h.op, p}, nil
}

// Pending returns the memory that an incomplete message occupies, in bytes, including its inflater. It
// returns 0 between messages.
func (d *Decoder) Pending() int {
	if d.s == nil || d.s.shared || d.s.borrowed {
		return 0
	}
	n := cap(d.s.buf)
	if d.s.z != nil {
		n += int(unsafe.Sizeof(*d.s.z))
	}
	return n
}

// Between reports whether the next byte begins a message.
func (d *Decoder) Between() bool {
	return d.s == nil || d.s.shared || d.s.headLen == 0 && !d.s.inFrame && !d.s.inMessage
}

// KeepsContext reports whether the decoder may keep a window of compressed messages for the next
// one.
func (d *Decoder) KeepsContext() bool { return d.s != nil && d.s.contextBits != 0 }

// Release releases the memory of an incomplete message, ends the loan of the last message's payload and
// resets d to its zero value.
func (d *Decoder) Release() { d.setState(nil) }

func (d *Decoder) fail(f *CloseError, in []byte) (Message, int, error) {
	d.setState(failedStates[f])
	return Message{}, len(in), f
}
