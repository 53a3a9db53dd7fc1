package client

import (
	"context"
	"fmt"
)

// Message is a message as a handler receives it.
type Message struct {
	// Topic is the durable topic; empty for the inbox, and for live messages.
	Topic string
	// Position is that of a stored message.
	Position Position
	// Stored is false for a live message, which has no position.
	Stored bool
	// Gap says that messages before this one are not available any more.
	Gap bool
	// Data is the payload: text, unless Binary is set.
	Data   []byte
	Binary bool

	item *item
}

// Text returns the payload as a string.
func (m *Message) Text() string { return string(m.Data) }

// Ack acknowledges the message and everything before it in its inbox or topic. Without
// Config.ManualAck it is called when the handler has returned nil; called earlier, it ends
// the retries of a handler that fails.
func (m *Message) Ack() {
	if m.item != nil {
		m.item.box.ack(m.item)
	}
}

func (m *Message) where() string {
	switch {
	case !m.Stored:
		return "a live message"
	case m.Topic == "":
		return fmt.Sprintf("offset %d of the inbox", m.Position.Offset)
	}
	return fmt.Sprintf("offset %d of %q", m.Position.Offset, m.Topic)
}

// Handler handles a message. ctx ends with Run, and when the topic is unsubscribed.
type Handler func(ctx context.Context, m *Message) error
