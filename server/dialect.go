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
//	{"type":"message","topic":"news","offset":7,"text":"…"}
//	{"type":"message","base64":"…"}
//	{"type":"error","code":"…","message":"…"}
//
// and may send
//
//	{"type":"ack","offset":42}
//	{"type":"ack","topic":"news","offset":7}
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
//
// A durable topic has offsets of its own. {"type":"subscribe","topic":"news",
// "offset":6} comes before its first message, also if the topic was named by the
// handshake, and says behind which offset the client gets it: the one given as
// "offset" of a subscribe, or in the query as offset.news=6; else that up to where
// the user has acknowledged the topic on any device; else its present end.
const ProtocolV1 = "fanfare.v1"

// envelopeBit in a session's state: the client speaks fanfare.v1. It is there so
// that a broadcast learns of it without another look at memory.
const envelopeBit = 1 << 28

func (s *Session) enveloped() bool { return s.state.Load()&envelopeBit != 0 }

// envelope is what clients of fanfare.v1 get instead of p.
func envelope(p *frame.Prepared) *frame.Prepared { return envelopeAt(p, "", 0, false) }

// envelopeAt is envelope for a message that is kept, for a user or a topic.
func envelopeAt(p *frame.Prepared, topic string, offset uint64, gap bool) *frame.Prepared {
	payload := p.Payload()
	b := make([]byte, 0, len(payload)+len(payload)/2+len(topic)+80)
	b = append(b, `{"type":"message",`...)
	if topic != "" {
		b = append(appendString(append(b, `"topic":`...), []byte(topic)), ',')
	}
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

// following says where a durable topic begins for the client.
func (s *Session) following(topic string, offset uint64, gap bool) {
	s.tell(struct {
		Type   string `json:"type"`
		Topic  string `json:"topic"`
		Offset uint64 `json:"offset"`
		Gap    bool   `json:"gap,omitempty"`
	}{"subscribe", topic, offset, gap})
}

// command serves what a client of fanfare.v1 has sent. Mistakes are told, and
// cost nothing but that.
func (s *Session) command(op Op, payload []byte) {
	var c struct {
		Type   string
		Offset *uint64
		Topic  string
	}
	if op != Text || !utf8.Valid(payload) || json.Unmarshal(payload, &c) != nil {
		s.complain("bad_message", "want one JSON object in a text message")
		return
	}
	switch c.Type {
	case "ack":
		s.acknowledge(c.Topic, c.Offset)
	case "subscribe":
		if x := s.ext.Load(); !covers(x.follows, c.Topic) {
			s.complain("forbidden", "this topic is not for this user to follow")
			return
		}
		added, err := s.follow(c.Topic, c.Offset)
		switch {
		case err == nil && !added:
			s.confirm(c.Type, c.Topic)
		case err == nil: // the mailbox confirms, with an offset
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

// follow is Subscribe, from behind an offset if one is given. It reports whether
// that began to bring a durable topic, for which the mailbox has the answer.
func (s *Session) follow(topic string, behind *uint64) (added bool, err error) {
	srv := s.srv()
	if err := registry.CheckName(topic); err != nil || !srv.keeps(topic) {
		return false, s.Subscribe(topic)
	}
	if _, err := srv.users.Subscribe(s, topic); err != nil {
		return false, err
	}
	srv.nodes.follow(topic)
	var offset uint64
	if behind != nil {
		offset = *behind
	}
	return srv.unread.follow(s, topic, offset, behind != nil), nil
}

// acknowledge takes an ack for what was sent, and no more.
func (s *Session) acknowledge(topic string, offset *uint64) {
	u := s.srv().unread
	if u == nil {
		s.complain("no_inbox", "nothing is kept here")
		return
	}
	if m := u.find(s); m != nil && offset != nil {
		if t := m.track(topic); t != nil && *offset <= t.want.Load() {
			t.acknowledged(u, s.User(), *offset)
			return
		}
	}
	s.complain("bad_offset", "there was no message with such an offset")
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
