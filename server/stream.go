package server

import (
	"context"
	"errors"
	"maps"
	"mime"
	"net/http"
	"slices"

	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/store"
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
	// comes back. They are those of user, and mean nothing to another one. encoded may be
	// nil: the positions alone. Mark is called for stored messages if Acks is AckByResume,
	// for each receiver, and must not allocate if b has room.
	Mark(b, encoded []byte, user string, at []Position) []byte
}

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

// crossOrigin returns the fields with which a browser lets a page of another origin read the
// response.
func (ep *endpoint) crossOrigin(r *Request) http.Header {
	return handshake.Origins(ep.allowedOrigins()).CrossOrigin(&r.head, ep.srv.cfg.FieldName, ep.appendHosts(nil, r)...)
}

// readable returns a rejection that the page which has made the request can read.
func (ep *endpoint) readable(rejection *Rejection, r *Request) *Rejection {
	if !ep.streams() || r == nil {
		return rejection
	}
	fields := ep.crossOrigin(r)
	maps.Copy(fields, rejection.Header)
	again := *rejection
	again.Header = fields
	return &again
}

// serveStream answers the requests at an endpoint of Streams that open no session: OPTIONS
// of browsers, HEAD and the question of checkHeader, and POST, which acknowledges. The error
// is a *Rejection, and has been sent.
func (ep *endpoint) serveStream(w http.ResponseWriter, r *http.Request, preset *Identity) error {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	h.req.head.Method = []byte(http.MethodGet) // which is what the request is about
	var err error
	switch r.Method {
	case http.MethodOptions:
		if err = ep.checkOrigin(ep.allowedOrigins(), &h.req); err == nil {
			err = ep.preflight(w, &h.req)
		}
	case http.MethodPost:
		err = ep.acknowledge(w, r, h, preset)
	case http.MethodHead, http.MethodGet:
		err = ep.describe(w, r, h, preset)
	default:
		err = &Rejection{Status: http.StatusMethodNotAllowed, Text: "this path takes " + handshake.StreamMethods, Header: http.Header{"Allow": {handshake.StreamMethods}}}
	}
	if err == nil {
		return nil
	}
	rejection := ep.rejected(err, &h.req)
	serveRejection(w, rejection)
	return rejection
}

// setCrossOrigin copies the fields of crossOrigin to an answer.
func (ep *endpoint) setCrossOrigin(w http.ResponseWriter, r *Request) {
	maps.Copy(w.Header(), ep.crossOrigin(r))
}

// preflight allows what pages need.
func (ep *endpoint) preflight(w http.ResponseWriter, r *Request) error {
	ep.setCrossOrigin(w, r)
	handshake.Preflight(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// describe answers what a GET would get, without opening a session.
func (ep *endpoint) describe(w http.ResponseWriter, r *http.Request, h *handshakeBuffer, preset *Identity) error {
	if _, err := ep.decideHosted(r.Context(), h, preset); err != nil {
		return err
	}
	ep.setCrossOrigin(w, &h.req)
	if r.Method == http.MethodGet {
		plainText(w, http.StatusOK, "the request would be accepted")
		return nil
	}
	w.Header().Set("Content-Type", ep.mediaType)
	w.Header().Set("Cache-Control", "no-store, no-transform")
	w.WriteHeader(http.StatusOK)
	return nil
}

// acknowledge stores the positions that a GET with the same query and header would resume
// from, as acknowledged by the user.
func (ep *endpoint) acknowledge(w http.ResponseWriter, r *http.Request, h *handshakeBuffer, preset *Identity) error {
	if h.req.head.Fields = slices.DeleteFunc(h.req.head.Fields, func(f handshake.Field) bool {
		return handshake.EqualFold(f.Name, "Accept") // there is no body to accept
	}); handshake.HasBody(&h.req.head) {
		return Reject(http.StatusBadRequest, "the request has a body: want none, and the position in Last-Event-ID or ?lastEventId=")
	}
	id, from, err := ep.identifyRequest(r.Context(), h, preset, false)
	if err != nil {
		return err
	}
	a, err := ep.admit(h, id)
	if err != nil {
		return err
	}
	if id.User == "" {
		return Reject(http.StatusBadRequest, "this endpoint identifies no user, so there is nothing to acknowledge")
	}
	if len(a.resume) == 0 {
		return Reject(http.StatusBadRequest, "no position to acknowledge: send the ID of the last event in Last-Event-ID or ?lastEventId=")
	}
	for topic, p := range a.resume {
		exempt := !ep.mayHaveChosen(&id, topic)
		if err := ep.srv.acknowledge(r.Context(), id.User, Position{Topic: topic, Epoch: p.Epoch, Offset: p.Offset}, from, exempt); err != nil {
			return rejectAck(err)
		}
	}
	ep.setCrossOrigin(w, &h.req)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rejectAck returns the answer to an acknowledgement that is not stored.
func rejectAck(err error) error {
	switch {
	case errors.Is(err, ErrNoStore):
		return Reject(http.StatusNotImplemented, "this server stores no messages")
	case errors.Is(err, ErrNotSent), errors.Is(err, ErrNotDurable):
		return Reject(http.StatusConflict, "the position does not belong to the stored messages: it is that of another server, or of a history that was replaced")
	case errors.Is(err, ErrPositions):
		return Reject(http.StatusConflict, "the server stores no further position for this user or address")
	case errors.Is(err, store.ErrFull):
		return Reject(http.StatusInsufficientStorage, "the server has no room for a further position")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return handshake.RetryAfter(http.StatusServiceUnavailable, "the stored messages are not available, try again later", "5")
	}
	return err
}

// isRejection reports whether err is an answer to the client: a status of 4xx or 5xx, or 204.
func isRejection(err error, r **Rejection) bool {
	return errors.As(err, r) && ((*r).Status == http.StatusNoContent || (*r).Status >= 400 && (*r).Status <= 599)
}
