package pusher

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/frame"
	"fanfare/server"
)

// This file has the wire format: text messages that hold a JSON object each.

// message is an object that a client sends. Members that are not known have no effect, because
// versions of clients differ in what they send in addition.
type message struct {
	Event   string         `json:"event"`
	Channel string         `json:"channel"`
	Data    jsontext.Value `json:"data"`
}

var errNoEvent = errors.New("the message has no event")

// parse reads a message of a client.
func (m *message) parse(payload []byte) error {
	if err := json.Unmarshal(payload, m); err != nil {
		return errors.New("the message is not a JSON object with the strings event and channel")
	}
	if m.Event == "" {
		return errNoEvent
	}
	return nil
}

// into reads the data of a message, an object or a string with the JSON of one.
func (m *message) into(v any) error {
	data := []byte(m.Data)
	if len(data) > 0 && data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return errors.New("data is malformed")
		}
		data = []byte(text)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return errors.New("data is not an object with the members of this event")
	}
	return nil
}

// event is an object that the server sends. Data is JSON, as it is: a string, mostly.
type event struct {
	name, channel string
	data          jsontext.Value
	userID        string
}

// encode returns the object; event is its first member, see passes.
func (e event) encode() []byte {
	b := make([]byte, 0, 64+len(e.name)+len(e.channel)+len(e.data)+len(e.userID))
	b = append(b, eventFirst...)
	b = quote(b, e.name)
	if e.channel != "" {
		b = quote(append(b, `,"channel":`...), e.channel)
	}
	if len(e.data) > 0 {
		b = append(append(b, `,"data":`...), e.data...)
	}
	if e.userID != "" {
		b = quote(append(b, `,"user_id":`...), e.userID)
	}
	return append(b, '}')
}

// message returns the event for package server.
func (e event) message() *server.Message { return server.NewMessage(server.Text, e.encode()) }

// reply sends the event to a session, without waiting for stored messages.
func (e event) reply(s *server.Session) { s.Reply(frame.Prepare(server.Text, e.encode())) }

const eventFirst = `{"event":`

// quote appends a JSON string. Names are valid UTF-8 where they are accepted; in others,
// invalid bytes are replaced.
func quote(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// nested returns v as JSON in a JSON string, which is how the protocol wraps data.
func nested(v any) jsontext.Value {
	text, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: pusher: data without JSON: " + err.Error())
	}
	return quote(nil, string(text))
}

// passes reports whether a payload is sent to clients as it is: one of this package, or one
// that means to be like it.
func passes(payload []byte) bool {
	return bytes.HasPrefix(payload, []byte(eventFirst)) && jsontext.Value(payload).IsValid()
}

// errorData is the data of pusher:error.
type errorData struct {
	Code    int    `json:"code,omitzero"`
	Message string `json:"message"`
}

// errorEvent is pusher:error, whose data is an object.
func errorEvent(code server.Code, text string) event {
	data, err := json.Marshal(errorData{int(code), text}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: pusher: an error without JSON: " + err.Error())
	}
	return event{name: "pusher:error", data: data}
}
