package server

import (
	"crypto/rand"
	"fmt"
	"unique"

	"fanfare/netpoll"
	"fanfare/server/node"
)

// MaxConflate bounds MessageOptions.Conflate, in bytes.
const MaxConflate = node.MaxConflate

// MessageOptions are what few messages need.
type MessageOptions struct {
	// Conflate, if not empty, names what the message is about, such as "price/EURUSD". In the
	// outbound queue of a session, whose client reads too slowly, the message takes the place
	// of an older one with the same name, of which nothing is sent yet. So the client
	// receives the newest message of each name, in the order of the first of each. Names
	// are shared by all messages to a session, whatever those are addressed to; they are UTF-8 of
	// at most MaxConflate bytes. Messages that wait for stored ones are not replaced.
	Conflate string
	// Receipt counts the clients that have received the message: see Server.Receipt. A ping
	// follows the message to each session, and its pong confirms it.
	Receipt bool
}

// options is what NewMessageWith makes of MessageOptions.
type options struct {
	conflate netpoll.Key // zero: none
	receipt  string      // its ID; empty: none
}

// NewMessageWith is NewMessage with options. The error says which one is invalid.
func NewMessageWith(op Op, payload []byte, o MessageOptions) (*Message, error) {
	if err := node.CheckConflate(o.Conflate); err != nil {
		return nil, fmt.Errorf("server: MessageOptions.Conflate: %w", err)
	}
	id := ""
	if o.Receipt {
		id = rand.Text()
	}
	return newMessageWith(op, payload, o.Conflate, id), nil
}

// newMessageWith is NewMessageWith for a valid name and the ID of a receipt, each of which
// may be empty.
func newMessageWith(op Op, payload []byte, conflate, receipt string) *Message {
	m := NewMessage(op, payload)
	if conflate+receipt != "" {
		m.options = &options{receipt: receipt}
		if conflate != "" {
			m.options.conflate = unique.Make(conflate)
		}
	}
	return m
}

// ofCommand returns the message of a command.
func ofCommand(c *Command) *Message {
	return newMessageWith(c.Op, c.Payload, c.Conflate, c.Receipt)
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

// into sets the fields of a command that carries the message.
func (m *Message) into(c *Command) *Command {
	c.Op, c.Payload, c.Conflate, c.Receipt = m.Op(), m.Payload(), m.conflate(), m.Receipt()
	return c
}

// writeWith is Session.write for a message with options. b is its frame.
func (s *Session) writeWith(o *options, b []byte, policy netpoll.Policy) error {
	if o.receipt != "" {
		return s.writeWithReceipt(o, b, policy)
	}
	return s.outcome(s.conn.WriteKeyed(b, policy, o.conflate))
}
