package client

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// protocol is the sub-protocol of the dialect.
const protocol = "fanfare.v1"

// object is what the server sends. Members that are not listed are ignored.
type object struct {
	Type    string  `json:"type"`
	ID      string  `json:"id"`
	Topic   string  `json:"topic"`
	Offset  *uint64 `json:"offset"`
	Epoch   string  `json:"epoch"`
	Gap     bool    `json:"gap"`
	Text    string  `json:"text"`
	Base64  []byte  `json:"base64"`
	UTF8    bool    `json:"utf8"`
	User    string  `json:"user"`
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Ticket  string  `json:"ticket"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
}

func parse(b []byte) (o *object, err error) {
	o = new(object)
	if err := json.Unmarshal(b, o, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: it sent %.100q: %w", ErrProtocol, b, err)
	}
	return o, nil
}

// position returns the position of an object, if it has one.
func (o *object) position() (p Position, ok bool) {
	if o.Offset == nil || o.Epoch == "" {
		return Position{}, false
	}
	return Position{*o.Offset, o.Epoch}, true
}

// message returns the message of an object.
func (o *object) message() *Message {
	p, ok := o.position()
	m := &Message{Topic: o.Topic, Position: p, Stored: ok, Gap: o.Gap, Data: o.Base64, Binary: o.Base64 != nil && !o.UTF8}
	if o.Base64 == nil {
		m.Data = []byte(o.Text)
	}
	return m
}

// command is what a client sends.
type command struct {
	Type   string  `json:"type"`
	ID     string  `json:"id,omitempty"`
	Topic  string  `json:"topic,omitempty"`
	Offset *uint64 `json:"offset,omitempty"`
	Epoch  string  `json:"epoch,omitempty"`
	Token  string  `json:"token,omitempty"`
	Text   *string `json:"text,omitzero"`
	Base64 *[]byte `json:"base64,omitzero"`
}

func (c command) encode() []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: client: command without JSON: " + err.Error())
	}
	return b
}
