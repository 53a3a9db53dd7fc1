package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/handshake"
)

// ProtocolV1 is the sub-protocol of [V1].
const ProtocolV1 = "fanfare.v1"

// V1 returns the dialect fanfare.v1: text messages that hold one JSON object each. The
// server sends
//
//	{"type":"hello","user":"alice","epoch":"k3f9","offset":41}
//	{"type":"message","epoch":"k3f9","offset":42,"text":"…"}
//	{"type":"message","topic":"news","epoch":"x81c","offset":7,"text":"…"}
//	{"type":"message","base64":"…"}
//	{"type":"subscribe","topic":"news","epoch":"x81c","offset":6}
//	{"type":"unsubscribe","topic":"news"}
//	{"type":"refresh","expires":1893456000}
//	{"type":"error","code":"…","message":"…"}
//
// and a client may send
//
//	{"type":"ack","epoch":"k3f9","offset":42}
//	{"type":"ack","topic":"news","epoch":"x81c","offset":7}
//	{"type":"subscribe","topic":"news"}
//	{"type":"subscribe","topic":"news","epoch":"x81c","offset":6}
//	{"type":"unsubscribe","topic":"news"}
//	{"type":"refresh","token":"…"}
//
// A stored message has an offset, and is redelivered until it is acknowledged; a
// live one has none. The payload is text, or base64 if it is binary; a text whose
// JSON escapes would make it more than a third, and a KiB, longer is base64 with
// "utf8":true.
//
// Offsets of one box, the user's inbox or a durable topic, increase within an
// epoch, so a message with an offset that the client has seen in the same epoch and
// box is a duplicate. An ack covers everything up to its offset, for all sessions
// of the user.
//
// A client resumes with ?offset=N&epoch=E in the URL, and offset.TOPIC, epoch.TOPIC
// for a durable topic, or with the same members of subscribe; otherwise it gets
// what no session of its user has acknowledged. "gap":true in hello, subscribe or a
// message reports that messages before it are no longer stored. hello precedes
// every other object, subscribe every message of its durable topic.
func V1() Dialect { return theV1 }

var theV1 = new(v1)

type v1 struct {
	WebSocket
	_ byte // not of size zero, so that its address is its own
}

func (*v1) Protocol() string { return ProtocolV1 }
func (*v1) Acks() AckMode    { return AckExplicit }

// Encode wraps c into a message object.
func (*v1) Encode(c Content) *frame.Prepared {
	b := make([]byte, 0, len(c.Payload)+len(c.Payload)/8+len(c.Topic)+128)
	b = append(b, `{"type":"message",`...)
	if c.Topic != "" {
		b = append(appendString(append(b, `"topic":`...), []byte(c.Topic)), ',')
	}
	if c.Offset > 0 && c.Epoch != "" {
		b = append(appendString(append(b, `"epoch":`...), []byte(c.Epoch)), ',')
		b = append(strconv.AppendUint(append(b, `"offset":`...), c.Offset, 10), ',')
	}
	if c.Gap {
		b = append(b, `"gap":true,`...)
	}
	switch {
	case c.Op != Text:
		b = appendBase64(b, c.Payload)
	case escapes(c.Payload) > max(len(c.Payload)/3, maxEscapes):
		b = append(appendBase64(b, c.Payload), `,"utf8":true`...)
	default:
		b = appendString(append(b, `"text":`...), c.Payload)
	}
	return frame.Prepare(Text, append(b, '}'))
}

// maxEscapes is how many bytes the escapes of a text may add in any case.
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

// object is what the server sends in addition to messages.
type object struct {
	Type    string  `json:"type"`
	Code    string  `json:"code,omitempty"`
	Message string  `json:"message,omitempty"`
	User    string  `json:"user,omitempty"`
	Topic   string  `json:"topic,omitempty"`
	Epoch   string  `json:"epoch,omitempty"`
	Offset  *uint64 `json:"offset,omitzero"`
	Gap     bool    `json:"gap,omitzero"`
	Expires int64   `json:"expires,omitzero"`
}

func (o object) send(s *Session) {
	b, err := json.Marshal(o, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: server: object without JSON: " + err.Error())
	}
	s.Reply(frame.Prepare(Text, b))
}

// Begin sends hello for the inbox, and the confirmation of a subscription. An offset means
// nothing without its epoch: if that is not known, neither is named.
func (*v1) Begin(s *Session, p Position) {
	o := object{Type: "subscribe", Topic: p.Topic, Gap: p.Gap}
	if p.Topic == "" {
		o.Type, o.User = "hello", s.User()
	}
	if p.Epoch != "" {
		o.Epoch, o.Offset = p.Epoch, &p.Offset
	}
	o.send(s)
}

// command is what a client sends.
type command struct {
	Type   string  `json:"type"`
	Topic  string  `json:"topic"`
	Epoch  string  `json:"epoch"`
	Offset *uint64 `json:"offset"`
	Token  string  `json:"token"`
}

// Receive serves a request. A mistake is answered with an error object and costs
// nothing else.
func (*v1) Receive(s *Session, op Op, payload []byte) {
	var r command
	if op != Text {
		sendError(s, "bad_message", "expected a text message with one JSON object, not a binary message")
		return
	}
	if err := json.Unmarshal(payload, &r, json.RejectUnknownMembers(true)); err != nil {
		sendError(s, "bad_message", requestFault(err))
		return
	}
	switch r.Type {
	case "ack":
		r.ack(s)
	case "subscribe":
		r.subscribe(s)
	case "unsubscribe":
		r.unsubscribe(s)
	case "refresh":
		r.refresh(s)
	default:
		sendError(s, "bad_type", "unknown type "+quote(r.Type)+": expected ack, subscribe, unsubscribe or refresh")
	}
}

// requestFault says what is wrong with a request, and quotes little of it.
func requestFault(err error) string {
	var member *json.SemanticError
	if errors.Is(err, json.ErrUnknownName) && errors.As(err, &member) {
		return "unknown field " + quote(string(member.JSONPointer.LastToken()))
	}
	if errors.As(err, &member) && member.JSONPointer != "" {
		return "field " + quote(string(member.JSONPointer.LastToken())) + " has the wrong type"
	}
	return "expected one JSON object"
}

// quote returns at most 40 bytes of a name, in quotes.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}

func (r *command) ack(s *Session) {
	if r.Offset == nil {
		sendError(s, "bad_offset", "an ack needs an offset")
		return
	}
	if r.Topic != "" && !validTopic(s, r.Topic) {
		return
	}
	switch err := s.Acknowledge(r.Topic, r.Epoch, *r.Offset); {
	case errors.Is(err, ErrNoStore):
		sendError(s, "no_inbox", "this server stores no messages")
	case errors.Is(err, ErrPositions):
		sendError(s, "too_many_positions", "the server stores no further position for this user or address: to resume this topic, name the offset yourself")
	case err != nil:
		sendError(s, "bad_offset", "no message with this offset and epoch was sent in this session")
	}
}

func (r *command) subscribe(s *Session) {
	if !validTopic(s, r.Topic) {
		return
	}
	if !s.MaySubscribe(r.Topic) {
		sendError(s, "forbidden", "this user may not subscribe to the topic")
		return
	}
	var after *Position
	if r.Offset != nil {
		if *r.Offset > 0 && r.Epoch == "" {
			sendError(s, "bad_offset", errNoEpoch)
			return
		}
		after = &Position{Topic: r.Topic, Epoch: r.Epoch, Offset: *r.Offset}
	}
	begins, err := s.subscribe(r.Topic, after, false)
	switch {
	case errors.Is(err, registry.ErrTooManyTopics):
		sendError(s, "too_many_topics", "the session has as many subscriptions as it may")
	case err == nil && !begins: // else Begin confirms, with an offset
		object{Type: "subscribe", Topic: r.Topic}.send(s)
	}
}

func (r *command) unsubscribe(s *Session) {
	if !validTopic(s, r.Topic) {
		return
	}
	s.Unsubscribe(r.Topic)
	object{Type: "unsubscribe", Topic: r.Topic}.send(s)
}

// validTopic checks a name, and answers with an error if it is malformed.
func validTopic(s *Session, topic string) bool {
	err := registry.CheckName(topic)
	if err != nil {
		sendError(s, "bad_name", "topic: "+err.Error())
	}
	return err == nil
}

func sendError(s *Session, code, message string) {
	object{Type: "error", Code: code, Message: message}.send(s)
}

// Resume reads ?offset=41&epoch=k3f9&offset.news=7&epoch.news=x81c. It walks the query
// once: a client may name a hundred topics, and send thousands of parameters.
func (*v1) Resume(r *Request, topics []string) (map[string]Position, error) {
	r.ask("offset", false)
	r.ask("epoch", false)
	var positions map[string]Position
	var params map[string]resumeParam
	for k, v := range r.head.Pairs {
		name, err := handshake.Unescape(k)
		if err != nil || !strings.HasPrefix(name, "offset") && !strings.HasPrefix(name, "epoch") {
			continue
		}
		if params == nil {
			params, positions = resumeParams(topics), make(map[string]Position)
		}
		p, ok := params[name]
		switch {
		case !ok && r.asked([]byte(name)) == nil && (strings.HasPrefix(name, "offset.") || strings.HasPrefix(name, "epoch.")):
			return nil, &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote([]byte(name)) + " has no effect: the session does not subscribe to this topic when it opens",
				Reason: "position in a topic that the session does not subscribe to",
			}
		case !ok:
			continue
		case p.found:
			return nil, errRepeated(name)
		}
		p.found = true
		params[name] = p
		r.ask(name, false)
		value, err := handshake.Unescape(v)
		if err != nil || value == "" {
			continue
		}
		pos, known := positions[p.topic]
		pos.Topic = p.topic
		if p.epoch {
			pos.Epoch = value
			if !known {
				pos.Offset = noOffset
			}
		} else if pos.Offset, err = strconv.ParseUint(value, 10, 63); err != nil {
			return nil, Reject(http.StatusBadRequest, name+": expected the offset of the last message, a number")
		}
		positions[p.topic] = pos
	}
	for _, pos := range positions {
		switch {
		case pos.Offset == noOffset:
			return nil, Reject(http.StatusBadRequest, errNoOffset)
		case pos.Offset > 0 && pos.Epoch == "":
			return nil, Reject(http.StatusBadRequest, errNoEpoch)
		}
	}
	return positions, nil
}

// noOffset is beyond every offset.
const noOffset = 1 << 63

// resumeParam is what a parameter of the query is about.
type resumeParam struct {
	topic string
	epoch bool
	found bool
}

func resumeParams(topics []string) map[string]resumeParam {
	params := map[string]resumeParam{"offset": {}, "epoch": {epoch: true}}
	for _, t := range topics {
		params["offset."+t] = resumeParam{topic: t}
		params["epoch."+t] = resumeParam{topic: t, epoch: true}
	}
	return params
}

// errNoOffset: an epoch alone names no message.
const errNoOffset = "an epoch without its offset: send the offset that came with the epoch as well"

// errNoEpoch: without the epoch it is unknown whether the offset still denotes the
// same message, and messages could be skipped silently.
const errNoEpoch = "an offset without its epoch: send the epoch that came with the offset as well"
