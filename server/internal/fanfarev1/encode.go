package fanfarev1

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// Message is a message to a client. The payload is encoded as "text", or as "base64" if
// it is binary or if JSON escapes would make a text much longer.
type Message struct {
	Binary  bool
	Payload []byte // UTF-8 unless Binary
	Topic   string // the durable topic; empty: the user's inbox, or not stored
	Epoch   string // of Offset
	Offset  uint64 // 0: not stored
	Gap     bool   // messages before this one are missing
}

// Encode returns the message as a JSON object.
func (m *Message) Encode() []byte {
	b := make([]byte, 0, len(m.Payload)+len(m.Payload)/8+len(m.Topic)+128)
	b = append(b, `{"type":"message",`...)
	if m.Topic != "" {
		b = append(appendString(append(b, `"topic":`...), []byte(m.Topic)), ',')
	}
	if m.Offset > 0 && m.Epoch != "" {
		b = append(appendString(append(b, `"epoch":`...), []byte(m.Epoch)), ',')
		b = append(strconv.AppendUint(append(b, `"offset":`...), m.Offset, 10), ',')
	}
	if m.Gap {
		b = append(b, `"gap":true,`...)
	}
	return append(m.appendPayload(b), '}')
}

// EncodeReply returns the message as the reply to a request; id may be empty.
func (m *Message) EncodeReply(id string) []byte {
	b := make([]byte, 0, len(m.Payload)+len(m.Payload)/8+len(id)+64)
	b = append(b, `{"type":"reply",`...)
	if id != "" {
		b = append(appendText(append(b, `"id":`...), id), ',')
	}
	return append(m.appendPayload(b), '}')
}

// appendPayload appends the member with the payload.
func (m *Message) appendPayload(b []byte) []byte {
	switch {
	case m.Binary:
		return appendBase64(b, m.Payload)
	case escapes(m.Payload) > max(len(m.Payload)/3, maxEscapes):
		return append(appendBase64(b, m.Payload), `,"utf8":true`...)
	}
	return appendString(append(b, `"text":`...), m.Payload)
}

// maxEscapes is the number of bytes that the escapes of any text may add.
const maxEscapes = 1 << 10

func appendBase64(b, payload []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(b, `"base64":"`...), payload), '"')
}

// escapes returns how many bytes the escapes of text add in a JSON string.
func escapes(text []byte) (n int) {
	for _, c := range text {
		switch {
		case c == '"' || c == '\\' || c == '\n':
			n++
		case c < ' ':
			n += 5
		}
	}
	return n
}

// appendString appends text as a JSON string, RFC 8259 section 7.
func appendString(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

// Presence names the users that have joined and left a topic.
type Presence struct {
	Topic        string
	Members      int
	Joined, Left []string // left out if they are empty
}

// Encode returns the message as a JSON object.
func (p *Presence) Encode() []byte {
	b := appendText([]byte(`{"type":"presence","topic":`), p.Topic)
	b = strconv.AppendInt(append(b, `,"members":`...), int64(p.Members), 10)
	for _, list := range [...]struct {
		name  string
		users []string
	}{{`,"joined":[`, p.Joined}, {`,"left":[`, p.Left}} {
		for i, user := range list.users {
			if i == 0 {
				b = append(b, list.name...)
			} else {
				b = append(b, ',')
			}
			b = appendText(b, user)
		}
		if len(list.users) > 0 {
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

// Object is an object of the server that carries no payload: hello, subscribe,
// unsubscribe, publish, refresh or error. Zero members are left out.
type Object struct {
	Type    string
	ID      string // of the command that it answers
	Code    string
	Message string
	User    string
	Topic   string
	Epoch   string
	Offset  *uint64
	Gap     bool
	Expires int64
	// ExpiresIn is in seconds.
	ExpiresIn int64
	Ticket    string
}

// Encode returns the object as JSON, with U+FFFD for bytes that are not UTF-8.
func (o Object) Encode() []byte {
	b := appendText([]byte(`{"type":`), o.Type)
	for _, m := range [...]struct{ name, value string }{
		{`,"id":`, o.ID}, {`,"code":`, o.Code}, {`,"message":`, o.Message}, {`,"user":`, o.User}, {`,"topic":`, o.Topic}, {`,"epoch":`, o.Epoch},
	} {
		if m.value != "" {
			b = appendText(append(b, m.name...), m.value)
		}
	}
	if o.Offset != nil {
		b = strconv.AppendUint(append(b, `,"offset":`...), *o.Offset, 10)
	}
	if o.Gap {
		b = append(b, `,"gap":true`...)
	}
	if o.Expires != 0 {
		b = strconv.AppendInt(append(b, `,"expires":`...), o.Expires, 10)
	}
	if o.ExpiresIn != 0 {
		b = strconv.AppendInt(append(b, `,"expires_in":`...), o.ExpiresIn, 10)
	}
	if o.Ticket != "" {
		b = appendText(append(b, `,"ticket":`...), o.Ticket)
	}
	return append(b, '}')
}

// appendText appends a JSON string, with U+FFFD for each byte of s that is not UTF-8.
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return appendString(b, []byte(s))
}
