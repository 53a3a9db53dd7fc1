package fanfarev1

import (
	"encoding/base64"
	"strconv"
)

// Payload is what a client publishes, or sends with a request. It is not borrowed.
type Payload struct {
	Binary bool
	Bytes  []byte // UTF-8 unless Binary
}

// maxID bounds the ID of a command, in bytes: a UUID has 36.
const maxID = 64

func (r *Command) checkID() error {
	if len(r.ID) > maxID {
		return &Error{"bad_id", "the id has " + strconv.Itoa(len(r.ID)) + " bytes: expected at most " + strconv.Itoa(maxID)}
	}
	return nil
}

// id returns the ID for the answer: empty if it is not valid.
func (r *Command) id() string {
	if len(r.ID) > maxID {
		return ""
	}
	return r.ID
}

func (r *Command) publish(c Client) error {
	if err := checkTopic(r.Topic); err != nil {
		return err
	}
	p, err := r.payloadOf()
	if err != nil {
		return err
	}
	return c.Publish(r.ID, r.Topic, p)
}

func (r *Command) request(c Client) error {
	p, err := r.payloadOf()
	if err != nil {
		return err
	}
	return c.Request(r.ID, p)
}

// payloadOf returns the payload, of which there must be one.
func (r *Command) payloadOf() (p Payload, err error) {
	switch {
	case r.Text != nil && r.Base64 != nil:
		return p, &Error{"bad_message", "a " + r.Type + " has text or base64, not both"}
	case r.Text != nil:
		return Payload{Bytes: []byte(*r.Text)}, nil
	case r.Base64 != nil:
		b, err := base64.StdEncoding.Strict().DecodeString(*r.Base64)
		if err != nil {
			return p, &Error{"bad_message", "base64 is not valid: expected the standard alphabet, with padding"}
		}
		return Payload{Binary: true, Bytes: b}, nil
	}
	return p, &Error{"bad_message", "a " + r.Type + " needs text or base64"}
}
