package sse

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/frame"
	"fanfare/server"
)

// Plain returns the dialect that sends payloads as they are: a text is the data of an event
// without a name, which EventSource.onmessage gets, and a binary message the data of the event
// binary, in base64.
func Plain() server.Stream { return thePlain }

// V1 returns the dialect that sends the message objects of fanfare.v1, see [server.V1], as the
// data of events without a name.
func V1() server.Stream { return theV1 }

var (
	thePlain = &dialect{}
	theV1    = &dialect{objects: server.V1()}
)

// PushEndpoint is server.PushEndpoint for server-sent events.
func PushEndpoint(path string) server.Endpoint {
	ep := server.PushEndpoint(path)
	ep.Dialects = []server.Dialect{Plain(), V1()}
	return ep
}

// dialect is both dialects.
type dialect struct {
	objects server.Dialect // encodes messages as JSON; nil: payloads as they are
}

func (d *dialect) Protocol() string {
	if d.objects == nil {
		return ""
	}
	return d.objects.Protocol()
}

func (*dialect) Name() string         { return "sse" }
func (*dialect) ContentType() string  { return "text/event-stream" }
func (*dialect) EncodesPresence()     {}
func (*dialect) Acks() server.AckMode { return server.AckByResume }
func (*dialect) Ping([]byte) []byte   { return nil }
func (*dialect) Heartbeat() []byte    { return comment }
func (*dialect) Preamble() []byte     { return append(appendRetry(nil, retryFrom, retryTo), '\n') }
func (*dialect) Receive(*server.Session, server.Op, []byte) {
	panic("BUG: sse: a client of a stream sends no messages")
}

// comment is a line that clients ignore.
var comment = []byte(":\n")

// How long a client waits before it connects again, chosen at random, so that the clients of
// a server that has failed return at different times: after a failure, and after a close for
// which the server knows that it needs time.
const (
	retryFrom, retryTo     = 2 * time.Second, 6 * time.Second
	backoffFrom, backoffTo = 5 * time.Second, 15 * time.Second
)

func appendRetry(b []byte, from, to time.Duration) []byte {
	d := from + rand.N(to-from)
	return append(strconv.AppendInt(append(b, "retry: "...), d.Milliseconds(), 10), '\n')
}

// Encode returns an event, after the event gap if messages are missing.
func (d *dialect) Encode(c server.Content) *frame.Prepared {
	var b []byte
	if c.Gap {
		b = appendGap(b, c.Topic)
		c.Gap = false
	}
	switch {
	case c.Presence:
		b = appendData(append(b, "event: presence\n"...), c.Payload)
	case d.objects != nil:
		b = appendData(b, d.objects.Encode(c).Payload())
	case c.Op == server.Binary:
		b = append(b, "event: binary\ndata: "...)
		b = append(base64.StdEncoding.AppendEncode(b, c.Payload), '\n')
	default:
		b = appendData(b, c.Payload)
	}
	return frame.Raw(append(b, '\n'))
}

// appendData appends the lines of a text, which end with CR, LF or both. A client joins them
// with LF.
func appendData(b, text []byte) []byte {
	const field = "data: "
	b = append(b, field...)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				i++
			}
			fallthrough
		case '\n':
			b = append(append(b, '\n'), field...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '\n')
}

// appendEvent appends a named event with an object, without the empty line that ends it.
func appendEvent(b []byte, name string, object any) []byte {
	data, err := json.Marshal(object, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: sse: an event without JSON: " + err.Error())
	}
	return appendData(append(append(append(b, "event: "...), name...), '\n'), data)
}

type gap struct {
	Topic string `json:"topic,omitempty"`
}

func appendGap(b []byte, topic string) []byte { return append(appendEvent(b, "gap", gap{topic}), '\n') }

// Begin reports a gap. Positions are told by Mark.
func (*dialect) Begin(s *server.Session, p server.Position) {
	if p.Gap {
		s.Reply(frame.Raw(appendGap(nil, p.Topic)))
	}
}

// Mark puts the id into the last block of encoded, so that a client that has it has
// everything. Positions alone are a block without data: it sets the last event ID, and fires
// no event.
func (*dialect) Mark(b, encoded []byte, user string, at []server.Position) []byte {
	if n := len(encoded); n > 0 {
		b = append(b, encoded[:n-1]...) // without the empty line
	}
	b = appendID(append(b, "id: "...), user, at)
	return append(b, "\n\n"...)
}

// closed is the data of the event close.
type closed struct {
	Code   server.Code `json:"code"`
	Reason string      `json:"reason,omitempty"`
}

// stayAway begins the last id of a client that is to stay away; the close code follows. It is
// no version of an id.
const stayAway = "close-"

// Goodbye is the event close. A server that has reason to fear the client's return lets it
// wait longer, or has it stay away.
func (*dialect) Goodbye(code server.Code, reason string) (b []byte) {
	switch code {
	case server.StatusPolicyViolation, server.StatusForbidden:
		b = append(b, "id: "+stayAway...)
		b = append(strconv.AppendUint(b, uint64(code), 10), '\n')
	case server.StatusGoingAway, server.StatusServiceRestart, server.StatusTryAgainLater, server.StatusInternalError:
		b = appendRetry(b, backoffFrom, backoffTo)
	}
	return append(appendEvent(b, "close", closed{code, reason}), '\n')
}

// Resume reads Last-Event-ID, which EventSource sends when it connects again, or the parameter
// lastEventId, for clients that cannot set a header on their first request. The header is the
// later one.
func (*dialect) Resume(r *server.Request, user string, topics []string) (map[string]server.Position, error) {
	id, name := r.Query("lastEventId"), "lastEventId"
	if v := r.Header("Last-Event-ID"); v != "" {
		id, name = v, "Last-Event-ID"
	}
	if code, ok := strings.CutPrefix(id, stayAway); ok {
		return nil, &server.Rejection{
			Status: http.StatusNoContent, // HTML standard, 9.2.3: the client fails the connection, and does not come back
			Text:   "the client's last session was closed with " + strconv.Quote(code), Reason: "the client was told to stay away",
		}
	}
	if id == "" {
		return nil, nil
	}
	positions, err := parseID(id, user, topics)
	if err != nil {
		return nil, &server.Rejection{
			Status: http.StatusBadRequest,
			Text:   name + " is not an id of this server: send that of the last event, or none",
			Reason: "malformed last event ID",
		}
	}
	return positions, nil
}
