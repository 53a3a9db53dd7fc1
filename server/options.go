package server

import (
	"crypto/rand"
	"fmt"
	"time"
	"unique"

	"fanfare/netpoll"
	"fanfare/server/node"
)

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

// writeWith is Session.write for a message with options. b is its frame.
func (s *Session) writeWith(m *Message, b []byte, policy netpoll.Policy) error {
	o, srv := m.options, s.srv()
	if o.conflate != (netpoll.Key{}) && (o.interval != 0 || srv.rated.Len() > 0) {
		return s.outcome(srv.rated.Offer(s, o.conflate, liveFrame{m, policy}, o.interval, srv.now()))
	}
	return s.outcome(s.put(o, b, policy))
}

// put writes the frame of a message with options.
func (s *Session) put(o *options, b []byte, policy netpoll.Policy) netpoll.Outcome {
	if o.receipt != "" {
		return s.putWithReceipt(o, b, policy)
	}
	return s.conn.WriteKeyed(b, policy, o.conflate)
}
