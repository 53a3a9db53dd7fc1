package fanfarev1

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Command is an object that a client sends.
type Command struct {
	Type   string
	Topic  string
	Epoch  string
	Offset *uint64 // nil: none
	Rewind *uint64 // nil: none
	Token  string
	// ID is what the client calls this command, in the answer.
	ID string
	// Text and Base64 are the payload; nil: not there.
	Text, Base64 *string
}

// errNoObject is for the client, as all errors of Parse are.
var errNoObject = errors.New("expected one JSON object")

// Parse reads a command. The text of the error is for the client. It reads tokens, because
// package json, which every program with a server would link, is 0.3 MiB.
func (c *Command) Parse(payload []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	switch t, err := d.ReadToken(); {
	case err != nil:
		return errNoObject
	case t.Kind() == 'n': // means an empty object, as null means an absent member
	case t.Kind() != '{':
		return errNoObject
	default:
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return errNoObject
			}
			if err := c.member(name.String(), d); err != nil {
				return err
			}
		}
		if _, err := d.ReadToken(); err != nil { // the end of the object
			return errNoObject
		}
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNoObject
	}
	return nil
}

// member reads the value of a member.
func (c *Command) member(name string, d *jsontext.Decoder) error {
	var text *string
	var number **uint64
	switch name {
	case "type":
		text = &c.Type
	case "topic":
		text = &c.Topic
	case "epoch":
		text = &c.Epoch
	case "token":
		text = &c.Token
	case "id":
		text = &c.ID
	case "text":
		return c.payload(name, &c.Text, d)
	case "base64":
		return c.payload(name, &c.Base64, d)
	case "offset":
		number = &c.Offset
	case "rewind":
		number = &c.Rewind
	default:
		return errors.New("unknown field " + Quote(name))
	}
	value, err := d.ReadValue()
	if err != nil {
		return errNoObject
	}
	switch {
	case value.Kind() == 'n' && text != nil:
		*text = ""
		return nil
	case value.Kind() == 'n':
		*number = nil
		return nil
	case value.Kind() == '"' && text != nil:
		b, err := jsontext.AppendUnquote(nil, value)
		*text = string(b)
		return err
	case value.Kind() == '0' && number != nil:
		if n, err := strconv.ParseUint(string(value), 10, 64); err == nil {
			*number = &n
			return nil
		}
	}
	return errors.New("field " + Quote(name) + " has the wrong type")
}

// payload reads a member that may be empty.
func (c *Command) payload(name string, to **string, d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	switch {
	case err != nil:
		return errNoObject
	case value.Kind() == 'n':
		*to = nil
		return nil
	case value.Kind() != '"':
		return errors.New("field " + Quote(name) + " has the wrong type")
	}
	b, err := jsontext.AppendUnquote(nil, value)
	text := string(b)
	*to = &text
	return err
}

// Quote returns at most 40 bytes of a client's text, in quotes.
func Quote(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}
