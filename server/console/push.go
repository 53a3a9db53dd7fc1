package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/store"
)

// This file serves the form of the page that pushes.

// canPush reports whether the operator lets the page push.
func (p *Page) canPush() bool { return p.Server != nil && p.Authorizes != nil }

// push serves POST at the page's path: the body is a text message for ?user=NAME,
// ?topic=NAME or ?all. It needs a key, so that no page of another site and no client of the
// public listener can push.
func (p *Page) push(w http.ResponseWriter, r *http.Request) (status int, text string) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !p.Authorizes(strings.TrimSpace(key)) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="fanfare"`) // RFC 9110, 15.5.2
		return http.StatusUnauthorized, "no API key of this server"
	}
	kind, name, err := receivers(r.URL.RawQuery)
	if err != nil {
		return http.StatusBadRequest, err.Error()
	}
	limit := p.Server.Config().MaxPayload
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the message is longer than %d bytes", limit)
	case err != nil:
		return http.StatusBadRequest, "the message is not complete"
	case !utf8.Valid(payload):
		return http.StatusBadRequest, "the message is not UTF-8"
	}
	d, err := p.send(r, kind, name, payload)
	switch {
	case errors.Is(err, store.ErrFull):
		return http.StatusInsufficientStorage, err.Error()
	case err != nil:
		return http.StatusServiceUnavailable, err.Error()
	case !d.Complete():
		return http.StatusOK, fmt.Sprintf("sent to %d sessions, and perhaps others: a node did not answer", d.Receivers)
	case d.Receivers == 1:
		return http.StatusOK, "sent to 1 session"
	}
	return http.StatusOK, fmt.Sprintf("sent to %d sessions", d.Receivers)
}

// receivers reads the query of a push: one of user, topic and all.
func receivers(query string) (kind, name string, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", errors.New("malformed percent-encoding")
	}
	for kind, all := range values {
		name := all[0]
		switch {
		case kind != "user" && kind != "topic" && kind != "all" || len(values) > 1 || len(all) > 1:
		case kind == "all" && name == "":
			return kind, "", nil
		case kind != "all":
			if err := registry.CheckName(name); err != nil {
				return "", "", fmt.Errorf("%s: %w", kind, err)
			}
			return kind, name, nil
		}
	}
	return "", "", errors.New("want one of ?user=NAME, ?topic=NAME and ?all")
}

// send pushes a message. One to a durable topic is stored.
func (p *Page) send(r *http.Request, kind, name string, payload []byte) (server.Delivery, error) {
	m := server.NewMessage(server.Text, payload)
	switch {
	case kind == "user":
		return p.Server.Push(r.Context(), name, m)
	case kind == "all":
		return p.Server.Broadcast(r.Context(), m)
	case p.Server.Durable(name):
		st, err := p.Server.PublishStored(r.Context(), name, server.Entry{Op: server.Text, Payload: payload})
		return st.Delivery, err
	}
	return p.Server.Publish(r.Context(), name, m)
}
