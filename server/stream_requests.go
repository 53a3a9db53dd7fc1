package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"fanfare/server/internal/handshake"
	"fanfare/server/internal/replay"
	"fanfare/server/store"
)

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
		if err = ep.checkOrigin(ep.srv.live().AllowOrigins, &h.req); err == nil {
			err = ep.preflight(w, &h.req)
		}
	case http.MethodPost:
		err = ep.acknowledge(w, r, h, preset)
	case http.MethodHead, http.MethodGet:
		err = ep.describe(w, r, h, preset)
	default:
		err = &Rejection{Status: http.StatusMethodNotAllowed, Text: "this path takes " + streamMethods, Header: http.Header{"Allow": {streamMethods}}}
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
	for name, values := range ep.crossOrigin(r) {
		w.Header()[name] = values
	}
}

// preflight allows what pages need: Authorization for fetch, and the position of an earlier
// stream. Fetch standard, section 3.3.
func (ep *endpoint) preflight(w http.ResponseWriter, r *Request) error {
	ep.setCrossOrigin(w, r)
	h := w.Header()
	h.Set("Allow", streamMethods)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
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
		chosen := ep.Insecure || Covers(id.MaySubscribe, topic) && !slices.Contains(id.MaySubscribe, topic)
		if err := ep.srv.acknowledge(r.Context(), id.User, Position{Topic: topic, Epoch: p.Epoch, Offset: p.Offset}, from, !chosen); err != nil {
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
		return retryAfter(http.StatusServiceUnavailable, "the stored messages are not available, try again later", "5")
	}
	return err
}

// Acknowledge records that a user has all messages up to a position, of the inbox or of a
// durable topic, for a client that has no session at the moment or cannot send anything in it.
// It returns when that is stored. The error is ErrNoStore, ErrNotDurable, ErrNotSent if the
// position does not belong to the present history, or one of package store.
func (srv *Server) Acknowledge(ctx context.Context, user string, p Position) error {
	return srv.acknowledge(ctx, user, p, netip.Addr{}, true)
}

// acknowledge is Acknowledge for a client at an address. exempt says that it cannot have
// chosen the topic.
func (srv *Server) acknowledge(ctx context.Context, user string, p Position, from netip.Addr, exempt bool) error {
	switch {
	case srv.replay == nil:
		return ErrNoStore
	case p.Topic != "" && !srv.Durable(p.Topic):
		return ErrNotDurable
	}
	b := store.Box{User: user}
	if p.Topic != "" {
		b = store.Box{Topic: p.Topic}
	}
	switch err := srv.replay.AckUser(ctx, user, b, from, exempt, replay.Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset}); {
	case errors.Is(err, replay.ErrPositions):
		return ErrPositions
	case errors.Is(err, replay.ErrEpoch):
		return errors.Join(ErrNotSent, err)
	default:
		return err
	}
}
