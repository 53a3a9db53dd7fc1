package server

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"
	"unique"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/node"
	"fanfare/server/store"
)

// Message is one message for any number of receivers. It is encoded at most once
// per dialect and compression, for the first receiver that needs it, and its memory
// is shared by all of them. A Message is immutable and safe for concurrent use.
type Message struct {
	content Content
	plain   frame.Prepared           // what raw dialects send; content.Payload is its payload
	others  atomic.Pointer[encoding] // encodings of other dialects
	options *options                 // nil: none
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

const (
	// MaxConflate bounds MessageOptions.Conflate, in bytes.
	MaxConflate = node.MaxConflate
	// MinInterval and MaxInterval bound MessageOptions.Interval.
	MinInterval = node.MinInterval
	MaxInterval = node.MaxInterval
)

// MessageOptions are what few messages need.
type MessageOptions struct {
	// Conflate, if not empty, names what the message is about, such as "price/EURUSD". In the
	// outbound queue of a session, whose client reads too slowly, the message takes the place
	// of an older one with the same name, of which nothing is sent yet. So the client
	// receives the newest message of each name, in the order of the first of each. Names
	// are shared by all messages to a session, whatever those are addressed to; they are UTF-8 of
	// at most MaxConflate bytes. Messages that wait for stored ones are not replaced.
	Conflate string
	// Interval, if not 0, is the time that passes, to 100 ms, before another message with the
	// name follows this one to a session. Messages that come earlier wait, and the newest takes
	// the place of the one that waits: so it arrives in the end. The Interval of the newest
	// message counts. It is MinInterval to MaxInterval, and needs Conflate.
	Interval time.Duration
	// Receipt counts the clients that have received the message: see Server.Receipt. A ping
	// follows the message to each session, and its pong confirms it.
	Receipt bool
}

// options is what NewMessageWith makes of MessageOptions.
type options struct {
	conflate netpoll.Key   // zero: none
	interval time.Duration // 0: none
	receipt  string        // its ID; empty: none
}

// NewMessageWith is NewMessage with options. The error says which one is invalid.
func NewMessageWith(op Op, payload []byte, o MessageOptions) (*Message, error) {
	if err := node.CheckConflate(o.Conflate); err != nil {
		return nil, fmt.Errorf("server: MessageOptions.Conflate: %w", err)
	}
	if err := node.CheckInterval(o.Interval, o.Conflate); err != nil {
		return nil, fmt.Errorf("server: MessageOptions.Interval: %w", err)
	}
	id := ""
	if o.Receipt {
		id = rand.Text()
	}
	return newMessageWith(op, payload, o.Conflate, o.Interval, id), nil
}

// newMessageWith is NewMessageWith for options that are valid and the ID of a receipt, each of
// which may be zero.
func newMessageWith(op Op, payload []byte, conflate string, interval time.Duration, receipt string) *Message {
	m := NewMessage(op, payload)
	if conflate+receipt != "" {
		m.options = &options{interval: interval, receipt: receipt}
		if conflate != "" {
			m.options.conflate = unique.Make(conflate)
		}
	}
	return m
}

// ofCommand returns the message of a command.
func ofCommand(c *Command) *Message {
	return newMessageWith(c.Op, c.Payload, c.Conflate, time.Duration(c.Interval), c.Receipt)
}

// Receipt returns the ID of the receipt of a message with MessageOptions.Receipt, and is empty
// for others. All deliveries of the message count.
func (m *Message) Receipt() string {
	if m.options == nil {
		return ""
	}
	return m.options.receipt
}

// conflate returns MessageOptions.Conflate.
func (m *Message) conflate() string {
	if m.options == nil || m.options.conflate == (netpoll.Key{}) {
		return ""
	}
	return m.options.conflate.Value()
}

// interval returns MessageOptions.Interval.
func (m *Message) interval() time.Duration {
	if m.options == nil {
		return 0
	}
	return m.options.interval
}

// into sets the fields of a command that carries the message.
func (m *Message) into(c *Command) *Command {
	c.Op, c.Payload, c.Conflate, c.Interval, c.Receipt = m.Op(), m.Payload(), m.conflate(), node.Interval(m.interval()), m.Receipt()
	return c
}
