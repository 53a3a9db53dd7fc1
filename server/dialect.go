package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"fanfare/frame"
	"fanfare/registry"
)

// ProtocolV1 is the sub-protocol of clients that speak with the server, in text
// messages that hold one JSON object each. A client that offers it gets
//
//	{"type":"hello","user":"alice","offset":41}
//	{"type":"message","offset":42,"text":"…"}
//	{"type":"message","base64":"…"}
//	{"type":"error","code":"…","message":"…"}
//
// and may send
//
//	{"type":"ack","offset":42}
//	{"type":"subscribe","topic":"news"}
//	{"type":"unsubscribe","topic":"news"}
//
// of which the last two are sent back when they are done. A message has an offset
// if it is kept until it is acknowledged, and not if it was for whoever is here
// now; its payload is text, or base64 if it is binary. Offsets of one user grow:
// a message with one that was seen is a double. An ack is for everything up to its
// offset, on all devices of the user.
//
// A client that knows the last offset it saw connects with ?offset=N and gets what
// came behind it; others get what was not acknowledged on any device. "gap":true
// in hello or a message says that there was something before that is not kept any
// more. hello comes before the first message with an offset.
const ProtocolV1 = "fanfare.v1"

// envelopeBit in a session's state: the client speaks fanfare.v1. It is there so
// that a broadcast learns of it without another look at memory.
const envelopeBit = 1 << 28

func (s *Session) enveloped() bool { return s.state.Load()&envelopeBit != 0 }

// envelope is what clients of fanfare.v1 get instead of p.
func envelope(p *frame.Prepared) *frame.Prepared { return envelopeAt(p, 0, false) }

// envelopeAt is envelope for a message that is kept.
func envelopeAt(p *frame.Prepared, offset uint64, gap bool) *frame.Prepared {
	payload := p.Payload()
	b := make([]byte, 0, len(payload)+len(payload)/2+64)
	b = append(b, `{"type":"message",`...)
	if offset > 0 {
		b = append(strconv.AppendUint(append(b, `"offset":`...), offset, 10), ',')
	}
	if gap {
		b = append(b, `"gap":true,`...)
	}
	if p.Op() == Text {
		b = appendString(append(b, `"text":`...), payload)
	} else {
		b = base64.StdEncoding.AppendEncode(append(b, `"base64":"`...), payload)
		b = append(b, '"')
	}
	return frame.Prepare(Text, append(b, '}'))
}

// appendString appends a JSON string, RFC 8259 section 7.
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

// tell sends an object.
func (s *Session) tell(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: server: plain data makes no JSON: " + err.Error())
	}
	s.outcome(s.conn.Write(frame.Prepare(Text, b).Plain(), s.srv().userPolicy))
}

func (s *Session) hello(offset uint64, gap bool) {
	s.tell(struct {
		Type   string `json:"type"`
		User   string `json:"user"`
		Offset uint64 `json:"offset"`
		Gap    bool   `json:"gap,omitempty"`
	}{"hello", s.User(), offset, gap})
}

// command serves what a client of fanfare.v1 has sent. Mistakes are told, and
// cost nothing but that.
func (s *Session) command(op Op, payload []byte) {
	var c struct {
		Type   string
		Offset uint64
		Topic  string
	}
	if op != Text || !utf8.Valid(payload) || json.Unmarshal(payload, &c) != nil {
		s.complain("bad_message", "want one JSON object in a text message")
		return
	}
	switch c.Type {
	case "ack":
		s.acknowledge(c.Offset)
	case "subscribe":
		if x := s.ext.Load(); !covers(x.follows, c.Topic) {
			s.complain("forbidden", "this topic is not for this user to follow")
			return
		}
		switch err := s.Subscribe(c.Topic); {
		case err == nil:
			s.confirm(c.Type, c.Topic)
		case errors.Is(err, registry.ErrTooManyTopics):
			s.complain("too_many_topics", "the connection follows as many topics as it may")
		case errors.Is(err, registry.ErrName):
			s.complain("bad_name", err.Error())
		}
	case "unsubscribe":
		s.Unsubscribe(c.Topic)
		s.confirm(c.Type, c.Topic)
	default:
		s.complain("bad_type", "want ack, subscribe or unsubscribe")
	}
}

// acknowledge takes an ack for what was sent, and no more.
func (s *Session) acknowledge(offset uint64) {
	u := s.srv().unread
	if u == nil {
		s.complain("no_inbox", "nothing is kept here")
		return
	}
	m := u.find(s)
	if m == nil || offset > m.want.Load() {
		s.complain("bad_offset", "there was no message with such an offset")
		return
	}
	u.store.Ack(s.User(), offset)
}

func (s *Session) confirm(kind, topic string) {
	s.tell(struct {
		Type  string `json:"type"`
		Topic string `json:"topic"`
	}{kind, topic})
}

func (s *Session) complain(code, message string) {
	s.tell(struct {
		Type    string `json:"type"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}{"error", code, message})
}
