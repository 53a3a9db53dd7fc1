package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/store"
)

// Message is one message for any number of receivers. It is encoded at most once
// per dialect and compression, for the first receiver that needs it, and its memory
// is shared by all of them. A Message is immutable and safe for concurrent use.
type Message struct {
	content Content
	plain   frame.Prepared           // what raw dialects send; content.Payload is its payload
	others  atomic.Pointer[encoding] // encodings of other dialects
}

// encoding is a message as one dialect sends it; its frame is nil if that has panicked.
type encoding struct {
	dialect Dialect
	frame   *frame.Prepared
	next    *encoding
}

// NewMessage returns a message with a copy of payload. A Text payload must be
// UTF-8: clients fail the connection otherwise (RFC 6455 section 8.1).
func NewMessage(op Op, payload []byte) *Message {
	m := new(Message)
	m.plain.Init(op, payload)
	m.content = Content{Op: op, Payload: m.plain.Payload()}
	return m
}

// setPosition notes where the message is stored, before it is shared.
func (m *Message) setPosition(box store.Box, epoch string, offset uint64) {
	m.content.Topic, m.content.Epoch, m.content.Offset = box.Topic, epoch, offset
}

// Op returns Text or Binary.
func (m *Message) Op() Op { return m.content.Op }

// Payload returns the payload, which must not be modified.
func (m *Message) Payload() []byte { return m.content.Payload }

// Len returns the size of the payload in bytes.
func (m *Message) Len() int { return len(m.content.Payload) }

// frame returns the message as the session's dialect sends it, nil if Encode has panicked.
func (m *Message) frame(s *Session) *frame.Prepared {
	if s.raw() {
		return &m.plain
	}
	d := s.dialect()
	for e := m.others.Load(); ; {
		for known := e; known != nil; known = known.next {
			if known.dialect == d {
				return known.frame
			}
		}
		// Two goroutines may encode at the same time; one result is kept.
		added := &encoding{d, s.srv().encode(d, m.content), e}
		if m.others.CompareAndSwap(e, added) {
			return added.frame
		}
		e = m.others.Load()
	}
}

// Send sends a message. It never blocks: what the client does not read is queued, and
// payload is copied where it must be kept. A Text payload must be UTF-8. The error is
// ErrClosed, ErrSlowClosing or ErrSlowDropped.
func (s *Session) Send(op Op, payload []byte) error {
	state := s.state.Load()
	if phaseOf(state) != open {
		return ErrClosed
	}
	if state&(windowMask<<windowShift|holdBit) != 0 || !s.raw() {
		return s.SendMessage(NewMessage(op, payload))
	}
	buf := scratch.Get().(*[]byte)
	b := frame.AppendFrame((*buf)[:0], op, payload)
	err := s.outcome(s.conn.WriteBorrowed(b, s.srv().userPolicy()))
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return err
}

// SendMessage is Send for a message with several receivers.
func (s *Session) SendMessage(m *Message) error {
	return s.deliver(m, s.srv().userPolicy())
}

// Reply sends a frame as it is, in the session's dialect. Unlike a message it does
// not wait for stored messages that are on their way to the session.
func (s *Session) Reply(p *frame.Prepared) error {
	// Dialect.Begin may precede the phase open; the frame then follows the answer to the
	// handshake.
	if now := s.phase(); now < deciding || now > open {
		return ErrClosed
	}
	return s.outcome(s.conn.Write(s.compressed(p), s.srv().userPolicy()))
}

func (s *Session) deliver(m *Message, policy netpoll.Policy) error {
	state := s.state.Load()
	if phaseOf(state) != open {
		return ErrClosed
	}
	if state&holdBit != 0 && s.hold(m, policy) {
		return nil
	}
	return s.write(m, policy)
}

// write is deliver for a message that is not held.
func (s *Session) write(m *Message, policy netpoll.Policy) error {
	b := s.encoded(m)
	if b == nil {
		return errEncode
	}
	return s.outcome(s.conn.Write(b, policy))
}

// errEncode: the panic has been logged.
var errEncode = errors.New("server: panic in Dialect.Encode")

// scratch holds buffers in which single messages are encoded.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

const scratchKeep = 64 << 10

// compress starts permessage-deflate, from the first frame on.
func (s *Session) compress(p frame.Params) {
	s.dec.Start(p)
	s.state.Or(uint32(p.ServerBits) << windowShift)
}

// encoded returns the frame of m as this session gets it, nil if its dialect cannot
// encode it. Sessions with the same dialect and compression share one.
func (s *Session) encoded(m *Message) []byte {
	p := m.frame(s)
	if p == nil {
		return nil
	}
	return s.compressed(p)
}

// compressed returns the bytes of p, compressed if the session has negotiated that.
func (s *Session) compressed(p *frame.Prepared) []byte {
	window := uint8(s.state.Load() >> windowShift & windowMask)
	if window == 0 {
		return p.Plain()
	}
	return p.Deflated(&s.endpoint().Rules, frame.Params{ServerBits: window})
}
