package server

import (
	"errors"
	"sync"

	"fanfare/frame"
	"fanfare/netpoll"
)

// Send sends a message. It never blocks: what the client does not read is queued, and
// payload is copied where it must be kept. A Text payload must be UTF-8. The error is
// ErrClosed, ErrSlowClosing or ErrSlowDropped.
func (s *Session) Send(op Op, payload []byte) error {
	state := s.state.Load()
	if phaseOf(state) != open {
		return ErrClosed
	}
	if state&(windowMask<<windowShift|holdBit) != 0 || s.dialect() != Plain {
		return s.SendMessage(NewMessage(op, payload))
	}
	buf := scratch.Get().(*[]byte)
	b := frame.AppendFrame((*buf)[:0], op, payload)
	err := s.outcome(s.conn.WriteBorrowed(b, s.srv().userPolicy))
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return err
}

// SendMessage is Send for a message with several receivers.
func (s *Session) SendMessage(m *Message) error {
	return s.deliver(m, s.srv().userPolicy)
}

// Reply sends a frame as it is, in the session's dialect. Unlike a message it does
// not wait for stored messages that are on their way to the session.
func (s *Session) Reply(p *frame.Prepared) error {
	// Dialect.Begin may precede the phase open; the frame then follows the answer to the
	// handshake.
	if now := s.phase(); now < answering || now > open {
		return ErrClosed
	}
	return s.outcome(s.conn.Write(s.compressed(p), s.srv().userPolicy))
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

// write is deliver for a message that is not to be held any more.
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
