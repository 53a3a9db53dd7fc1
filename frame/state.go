package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// state is what a decoder must remember between two calls of Next. A decoder has
// one of its own only while something is half received or lent:
//
//	nil        at rest
//	a fault    failed, for good
//	closed     the peer has sent a close frame
//	its own    in a header, in a payload, between two fragments, or lending
//
// Faults and closed are shared by all decoders and never written to.
type state struct {
	fault *CloseError // the error of a failed decoder

	// buf holds the message so far, buf[:size] being its complete frames, or
	// a control frame's payload behind those.
	buf   []byte
	size  int // bytes of the complete fragments of the message
	valid int // bytes of a text message that are known to be UTF-8

	frame header // the frame whose payload is being received

	head    [maxHead]byte // the beginning of a header
	headLen uint8

	op      ws.OpCode // of the message
	open    bool      // a message has begun and has not ended
	inFrame bool      // frame is valid
	lent    bool      // the last message's payload is in buf
	last    bool      // the last message was a close frame
	shared  bool      // not this decoder's own
}

var closed = &state{shared: true, last: true}

var states = sync.Pool{New: func() any { return new(state) }}

// own returns a state that d may write to.
func (d *Decoder) own() *state {
	if d.s == nil || d.s.shared {
		d.s = states.Get().(*state)
	}
	return d.s
}

// drop gives back all that d holds and leaves it in the state next.
func (d *Decoder) drop(next *state) {
	if s := d.s; s != nil && !s.shared {
		freeBuffer(s.buf)
		*s = state{}
		states.Put(s)
	}
	d.s = next
}

// settle ends the loan of the last message.
func (d *Decoder) settle() {
	s := d.s
	switch {
	case s.last:
		d.drop(closed)
	case s.open: // it was a control frame between fragments
		s.buf = s.buf[:s.size]
		s.lent = false
	default:
		d.drop(nil)
	}
}

// Release drops what d holds of a message that is not complete, ends the loan of
// the last one and leaves d as new.
func (d *Decoder) Release() { d.drop(nil) }

// Buffered returns how many bytes of buffer d holds: 0 at rest.
func (d *Decoder) Buffered() int {
	if d.s == nil {
		return 0
	}
	return int(d.s.headLen) + cap(d.s.buf)
}
