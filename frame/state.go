package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// state is what a decoder must remember between two calls of Next. A decoder owns a state only while a
// header or a message is incomplete or a payload is borrowed, or if it keeps a context:
//
//	nil              between messages, no extension
//	an idle state    between messages, permessage-deflate
//	its own          in a header, in a payload, between fragments, payload borrowed, or keeping a context
//	closed           the peer has sent a close frame
//	a failed state   the peer has committed a fault
//
// Idle states, failed states and closed are shared by all decoders and are never written to.
type state struct {
	fault *CloseError // the error of a failed decoder

	// buf is the message so far, inflated: buf[:complete] is the payload of its complete frames. While a
	// control frame interrupts the message, the payload of the control frame follows that. A message is
	// smaller than 4 GiB (maxMaxMessage).
	buf      []byte
	complete uint32
	valid    uint32 // length of the prefix of a text message that is known to be UTF-8

	z       *inflater // while a compressed message is incomplete
	context []byte    // the end of the compressed messages so far, inflated

	frame header // the frame whose payload is incomplete

	head    [maxHead]byte // an incomplete header
	headLen uint8

	op        ws.OpCode // of the message
	empty     uint8     // number of empty fragments of the message
	inMessage bool      // a message is incomplete
	inFrame   bool      // frame is valid
	borrowed  bool      // the caller has borrowed a payload in buf
	gotClose  bool      // the last frame was a close frame
	shared    bool      // belongs to all decoders

	// What was negotiated.
	deflate     bool
	contextBits uint8
}

var closed = &state{shared: true, gotClose: true}

// idleStates are the states of decoders between messages by ContextBits, with 0 in place of 8.
var idleStates = func() (idle [8]*state) {
	for i := range idle {
		idle[i] = &state{shared: true, deflate: true}
		if i > 0 {
			idle[i].contextBits = uint8(8 + i)
		}
	}
	return idle
}()

func idleState(deflate bool, contextBits uint8) *state {
	switch {
	case !deflate:
		return nil
	case contextBits == 0:
		return idleStates[0]
	default:
		return idleStates[contextBits-8]
	}
}

var states = sync.Pool{New: func() any { return new(state) }}

// ownState returns a state that d may write to.
func (d *Decoder) ownState() *state {
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

// setState releases the memory that d owns and sets its state to next.
func (d *Decoder) setState(next *state) {
	if s := d.s; s != nil && !s.shared {
		freeBuffer(s.buf)
		freeBuffer(s.context)
		s.freeInflater()
		*s = state{}
		states.Put(s)
	}
	d.s = next
}

// reclaim ends the loan of the last payload and releases the memory that is not needed any more.
func (d *Decoder) reclaim() {
	s := d.s
	switch {
	case s.gotClose:
		d.setState(closed)
	case s.inMessage: // the payload is that of a control frame between fragments
		s.buf = s.buf[:s.complete]
		s.borrowed = false
	case len(s.context) > 0:
		freeBuffer(s.buf)
		*s = state{deflate: s.deflate, contextBits: s.contextBits, context: s.context}
	default:
		d.setState(idleState(s.deflate, s.contextBits))
	}
}
