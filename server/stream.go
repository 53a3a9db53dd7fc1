package server

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"sync"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/replay"
)

// Stream is a Dialect whose sessions are HTTP responses that do not end, to ordinary GET
// requests, instead of WebSocket connections: package sse has two. All dialects of an
// Endpoint are Streams, or none is. A client chooses one of several by the query parameter
// protocol, which names its Protocol.
//
// A session of a Stream receives only. Its Encode and Heartbeat return bytes of the body,
// see frame.Raw; Receive is never called, Ping returns nil, and Goodbye returns the last
// bytes of the body, after which the connection ends. The client acknowledges nothing, so a
// heartbeat finds a peer that has vanished by TCP, see netpoll.Conn.LimitUnacknowledged.
// Endpoint.Rules, Rate and Compress have no effect.
//
// Resume may return a Rejection with status 204, for a client that is to stay away.
type Stream interface {
	Dialect

	// ContentType is the media type of the response. All Streams of an endpoint have the
	// same. It is called by New and Mount.
	ContentType() string
	// Preamble returns the first bytes of the body.
	Preamble() []byte
	// Mark appends to b a message that Encode has encoded, together with the positions that
	// the client has when it has received the message: what Resume reads when the client
	// comes back. encoded may be nil: the positions alone. Mark is called for stored
	// messages if Acks is AckByResume, for each receiver, and must not allocate if b has
	// room.
	Mark(b, encoded []byte, at []Position) []byte
}

// streamMethods are those that an endpoint of Streams takes: HEAD asks what a GET would get,
// and POST acknowledges the positions that a GET would resume from.
const streamMethods = "GET, HEAD, POST, OPTIONS"

// Streams reports whether the dialects of the endpoint are Streams.
func (ep *Endpoint) Streams() bool {
	if len(ep.Dialects) == 0 {
		return false
	}
	_, ok := ep.Dialects[0].(Stream)
	return ok
}

// checkStreams rejects an endpoint that has both kinds of dialects.
func (ep *Endpoint) checkStreams() error {
	media := ep.media()
	for _, d := range ep.Dialects {
		switch s, ok := d.(Stream); {
		case ok != ep.Streams():
			return field.Errorf("Dialects", "has a Stream and a dialect of WebSocket: want an endpoint for each")
		case ok && (s.ContentType() != media || !isMediaType(media)):
			return field.Errorf("Dialects", "has the media types %q and %q: want the same, such as text/event-stream", media, s.ContentType())
		}
	}
	return nil
}

// media returns the media type of the endpoint's Streams, empty if it has none.
func (ep *Endpoint) media() string {
	if !ep.Streams() {
		return ""
	}
	return ep.Dialects[0].(Stream).ContentType()
}

func isMediaType(s string) bool {
	_, _, err := mime.ParseMediaType(s)
	return err == nil
}

// beginsStream reports whether a request that does not ask for WebSocket opens a session
// here. ep is nil where there is no endpoint.
func (ep *endpoint) beginsStream(r *Request) bool {
	if !ep.streams() || string(r.head.Method) != http.MethodGet {
		return false
	}
	_, question := r.head.Field(checkHeader)
	return question == 0
}

// checkStream is what check does before the origin, for a Stream.
func (ep *endpoint) checkStream(r *Request) error {
	if err := handshake.CheckStream(&r.head); err != nil {
		return err
	}
	return handshake.CheckAccept(&r.head, ep.mediaType)
}

// chooseStream is chooseDialect for Streams: EventSource cannot set a header.
func (ep *endpoint) chooseStream(r *Request) (index int, err error) {
	name := r.Query("protocol")
	if i, ok := ep.findDialect(name); ok {
		return i, nil
	}
	return 0, &Rejection{
		Status: http.StatusBadRequest,
		Text:   "this endpoint has no protocol " + handshake.Quote([]byte(name)),
		Reason: "unknown protocol",
	}
}

// answerStream appends the answer that accepts a request.
func (ep *endpoint) answerStream(b []byte, r *Request, d Stream) []byte {
	b = handshake.AppendStream(b, ep.mediaType, ep.crossOrigin(r), ep.srv.wall())
	return append(b, d.Preamble()...)
}

// stream reports whether the session is a response, whose client sends nothing.
func (s *Session) stream() bool { return s.endpoint().streams() }

// streams is Streams for an endpoint in use; ep may be nil.
func (ep *endpoint) streams() bool { return ep != nil && ep.mediaType != "" }

// markBuffer is the memory for one message with its positions.
type markBuffer struct {
	from []replay.Position
	at   []Position
	b    []byte
}

var markBuffers = sync.Pool{New: func() any { return new(markBuffer) }}

// WriteMarked implements replay.Marker. The message is copied, because the positions are
// those of this session.
func (r receiver) WriteMarked(f replay.Frame, at replay.Positions) bool {
	s := r.s
	d, ok := s.dialect().(Stream)
	if !ok {
		return f == nil || r.WriteStored(f)
	}
	m := markBuffers.Get().(*markBuffer)
	defer func() {
		if cap(m.b) <= scratchKeep {
			markBuffers.Put(m)
		}
	}()
	m.from, m.at = at.AppendPositions(m.from[:0]), m.at[:0]
	for _, p := range m.from {
		if p.Epoch != "" {
			m.at = append(m.at, Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset})
		}
	}
	if f == nil && len(m.at) == 0 {
		return true
	}
	var encoded []byte
	if f != nil {
		encoded = (*frame.Prepared)(f.(*storedFrame)).Plain()
	}
	b := s.mark(d, m.b[:0], encoded, m.at)
	if b == nil { // Mark has panicked
		return f == nil || r.WriteStored(f)
	}
	m.b = b
	if s.outcome(s.conn.WriteBorrowed(b, netpoll.CloseOnFull)) != nil {
		return false
	}
	if f != nil {
		s.srv().stats.replayed.Add(1)
	}
	return true
}

// mark calls Stream.Mark. Its substitute is the message without positions.
func (s *Session) mark(d Stream, b, encoded []byte, at []Position) (marked []byte) {
	defer s.logPanic("Stream.Mark")
	return d.Mark(b, encoded, at)
}

// crossOrigin returns the fields with which a browser lets a page of another origin read the
// response: pages of the origins that may connect. A page may send cookies unless the origin
// is allowed by "*" alone.
func (ep *endpoint) crossOrigin(r *Request) http.Header {
	h := http.Header{"Vary": {"Origin"}}
	origin, n := r.head.Field("Origin")
	if n != 1 {
		return h
	}
	allowed := ep.srv.live().AllowOrigins
	named := slices.DeleteFunc(slices.Clone(allowed), func(o string) bool { return o == "*" })
	switch {
	case ep.checkOrigin(named, r) == nil:
		h.Set("Access-Control-Allow-Origin", string(origin))
		h.Set("Access-Control-Allow-Credentials", "true")
	case len(named) < len(allowed):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return h
	}
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	return h
}

// readable returns a rejection that the page which has made the request can read.
func (ep *endpoint) readable(rejection *Rejection, r *Request) *Rejection {
	if !ep.streams() || r == nil {
		return rejection
	}
	fields := ep.crossOrigin(r)
	for name, values := range rejection.Header {
		fields[name] = values
	}
	again := *rejection
	again.Header = fields
	return &again
}

// isRejection reports whether err is an answer to the client: a status of 4xx or 5xx, or 204.
func isRejection(err error, r **Rejection) bool {
	return errors.As(err, r) && ((*r).Status == http.StatusNoContent || (*r).Status >= 400 && (*r).Status <= 599)
}
