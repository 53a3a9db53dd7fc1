package frame

import (
	"sync"
	"unsafe"

	"github.com/gobwas/ws"
)

// state is what a decoder must remember between two calls of Next. A decoder has
// one of its own only while something is half received or lent, or if it keeps
// a context:
//
//	nil        at rest, no extension
//	a rest     at rest, permessage-deflate
//	its own    in a header, in a payload, between two fragments, or lending
//	closed     the peer has sent a close frame
//	a fault    failed, for good
//
// Rests, faults and closed are shared by all decoders and never written to.
type state struct {
	fault *CloseError // the error of a failed decoder

	// buf holds the message so far, inflated, buf[:size] being its complete
	// frames; or a control frame's payload behind those; or what is lent. A
	// message has less than 4 GiB (maxMaxMessage).
	buf   []byte
	size  uint32
	valid uint32 // bytes of a text message that are known to be UTF-8

	z       *inflater // of a compressed message that has begun and has not ended
	context []byte    // the end of the compressed messages so far, inflated

	frame header // the frame whose payload is being received

	head    [maxHead]byte // the beginning of a header
	headLen uint8

	op      ws.OpCode // of the message
	empty   uint8     // fragments of it that say nothing
	open    bool      // a message has begun and has not ended
	inFrame bool      // frame is valid
	lent    bool      // the last message's payload is in buf
	last    bool      // the last message was a close frame
	shared  bool      // not this decoder's own

	// What was negotiated.
	deflate     bool
	contextBits uint8
}

var closed = &state{shared: true, last: true}

// rests are the states of decoders at rest by ContextBits, with 0 in place of 8.
var rests = func() (rests [8]*state) {
	for i := range rests {
		rests[i] = &state{shared: true, deflate: true}
		if i > 0 {
			rests[i].contextBits = uint8(8 + i)
		}
	}
	return rests
}()

func atRest(deflate bool, contextBits uint8) *state {
	switch {
	case !deflate:
		return nil
	case contextBits == 0:
		return rests[0]
	default:
		return rests[contextBits-8]
	}
}

var states = sync.Pool{New: func() any { return new(state) }}

// own returns a state that d may write to.
func (d *Decoder) own() *state {
	if d.s != nil && !d.s.shared {
		return d.s
	}
	s := states.Get().(*state)
	if d.s != nil {
		s.deflate, s.contextBits = d.s.deflate, d.s.contextBits
	}
	d.s = s
	return s
}

// drop gives back all that d holds and leaves it in the state next.
func (d *Decoder) drop(next *state) {
	if s := d.s; s != nil && !s.shared {
		freeBuffer(s.buf)
		freeBuffer(s.context)
		s.freeInflater()
		*s = state{}
		states.Put(s)
	}
	d.s = next
}

// settle ends the loan of the last message and gives back what is not needed any
// more.
func (d *Decoder) settle() {
	s := d.s
	switch {
	case s.last:
		d.drop(closed)
	case s.open: // it was a control frame between fragments
		s.buf = s.buf[:s.size]
		s.lent = false
	case len(s.context) > 0:
		freeBuffer(s.buf)
		*s = state{deflate: s.deflate, contextBits: s.contextBits, context: s.context}
	default:
		d.drop(atRest(s.deflate, s.contextBits))
	}
}

// Release drops what d holds of a message that is not complete, ends the loan of
// the last one and leaves d as new.
func (d *Decoder) Release() { d.drop(nil) }

// Buffered returns how many bytes d holds: 0 at rest, or the context that it
// keeps.
func (d *Decoder) Buffered() int {
	if d.s == nil {
		return 0
	}
	n := int(d.s.headLen) + cap(d.s.buf) + cap(d.s.context)
	if d.s.z != nil {
		n += int(unsafe.Sizeof(inflater{}))
	}
	return n
}
