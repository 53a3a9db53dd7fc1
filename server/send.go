package server

import (
	"errors"
	"fmt"
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
	if state&(windowMask<<windowShift|holdBit) != 0 || !s.raw() {
		return s.SendMessage(NewMessage(op, payload))
	}
	srv, buf := s.srv(), scratch.Get().(*[]byte)
	err := s.writeScratch(buf, frame.AppendFrame((*buf)[:0], op, payload), srv.userPolicy())
	if err == nil && srv.traces.Running() {
		s.traceDelivered(Content{Op: op, Payload: payload})
	}
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
	var err error
	if m.options != nil {
		err = s.writeWith(m, b, policy)
	} else {
		err = s.outcome(s.conn.Write(b, policy))
	}
	if err == nil && s.srv().traces.Running() {
		s.traceDelivered(m.content)
	}
	return err
}

// errEncode: the panic has been logged.
var errEncode = errors.New("server: panic in Dialect.Encode")

// scratch holds buffers in which single messages are encoded.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

const scratchKeep = 64 << 10

// writeScratch writes b, which was appended to a buffer of scratch, and returns the buffer.
func (s *Session) writeScratch(buf *[]byte, b []byte, policy netpoll.Policy) error {
	return s.outcome(s.putScratch(buf, b, policy))
}

func (s *Session) putScratch(buf *[]byte, b []byte, policy netpoll.Policy) netpoll.Outcome {
	o := s.conn.WriteBorrowed(b, policy)
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return o
}

// Errors of Session.Send, SendMessage and Reply.
var (
	// ErrClosed: the session is closed or closing.
	ErrClosed = errors.New("server: session is closed")
	// ErrSlow: the client does not read, and the session's outbound queue is full. It
	// is one of the two that follow.
	ErrSlow = errors.New("server: outbound queue is full")
	// ErrSlowClosing is ErrSlow where the session is being closed with 1013 for it.
	ErrSlowClosing = fmt.Errorf("%w: session is being closed", ErrSlow)
	// ErrSlowDropped is ErrSlow where only the message was dropped.
	ErrSlowDropped = fmt.Errorf("%w: message dropped", ErrSlow)
)

// WhenFull is a policy for a full outbound queue.
type WhenFull uint8

const (
	// FullDefault is FullClose for user pushes and FullDropOldest for topics
	// and broadcasts.
	FullDefault WhenFull = iota
	// FullClose ends the slow connection with 1013.
	FullClose
	// FullDropOldest drops the oldest messages that may be dropped.
	FullDropOldest
)

// ParseWhenFull reads "close" or "drop-oldest", for programs that take the policy from a flag
// or a file.
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "close":
		return FullClose, nil
	case "drop-oldest":
		return FullDropOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want close or drop-oldest", s)
}

func (w WhenFull) policy(def netpoll.Policy) netpoll.Policy {
	switch w {
	case FullClose:
		return netpoll.CloseOnFull
	case FullDropOldest:
		return netpoll.DropOldest
	}
	return def
}

func (srv *Server) userPolicy() netpoll.Policy {
	return srv.live().UserFull.policy(netpoll.CloseOnFull)
}

func (srv *Server) topicPolicy() netpoll.Policy {
	return srv.live().TopicFull.policy(netpoll.DropOldest)
}

// outcome turns the outcome of a write into an error. The policy was applied by queue.makeRoom in
// netpoll/queue.go; outcome closes the session if its queue is full and the policy does not
// allow to drop.
func (s *Session) outcome(o netpoll.Outcome) error {
	switch o {
	case netpoll.Written, netpoll.Queued:
		return nil
	case netpoll.Displaced:
		s.traceDropped("older messages to a slow client made room for a newer one")
		return nil
	case netpoll.Full:
		srv, queued := s.srv(), s.Queued()
		srv.stats.Slow.Add(1)
		if s.end(frame.StatusTryAgainLater, "too slow", true) {
			srv.events.slow(s, queued)
		}
		return ErrSlowClosing
	case netpoll.Dropped:
		s.traceDropped("the outbound queue of a slow client is full")
		return ErrSlowDropped
	}
	return ErrClosed
}
