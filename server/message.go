package server

import (
	"sync/atomic"

	"fanfare/frame"
	"fanfare/server/store"
)

// Message is one message for any number of receivers. It is encoded at most once
// per dialect and compression, for the first receiver that needs it, and its memory
// is shared by all of them. A Message is immutable and safe for concurrent use.
type Message struct {
	content Content
	plain   frame.Prepared           // what Plain sends; content.Payload is its payload
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

// setPosition notes where the message is stored, before anybody else has it.
func (m *Message) setPosition(box store.Box, epoch string, offset uint64) {
	m.content.Topic, m.content.Epoch, m.content.Offset = box.Topic, epoch, offset
}

// Op returns Text or Binary.
func (m *Message) Op() Op { return m.content.Op }

// Payload returns the payload, which must not be modified.
func (m *Message) Payload() []byte { return m.content.Payload }

// Len returns the size of the payload in bytes.
func (m *Message) Len() int { return len(m.content.Payload) }

// frame returns the message as d sends it, nil if d.Encode has panicked.
func (m *Message) frame(srv *Server, d Dialect) *frame.Prepared {
	if d == Plain {
		return &m.plain
	}
	for e := m.others.Load(); ; {
		for known := e; known != nil; known = known.next {
			if known.dialect == d {
				return known.frame
			}
		}
		// Encoded by two goroutines at the same time in the worst case; one result
		// is kept.
		added := &encoding{d, srv.encode(d, m.content), e}
		if m.others.CompareAndSwap(e, added) {
			return added.frame
		}
		e = m.others.Load()
	}
}
