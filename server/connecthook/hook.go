package connecthook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server"
	"fanfare/server/internal/breaker"
	"fanfare/server/internal/callout"
)

// Hook asks a backend who a client is. It is safe for concurrent use.
type Hook struct {
	current atomic.Pointer[settings]
	breaker *breaker.Breaker[[]byte]
	slots   chan struct{} // a place for each request under way
	now     func() time.Time

	accepted  atomic.Int64
	rejected  atomic.Int64
	anonymous atomic.Int64
	invalid   atomic.Int64   // answers
	failed    atomic.Int64   // requests
	skipped   atomic.Int64   // requests that the breaker has not let through
	left      atomic.Int64   // requests canceled because the client left, or waited too long
	logged    callout.Seldom // failures
}

// settings are a configuration and the client for its URL. They are immutable.
type settings struct {
	Config
	client *http.Client
}

// New returns a Hook. It makes no request.
func New(cfg Config) (*Hook, error) { return newHook(cfg, breaker.OpenFor) }

func newHook(cfg Config, openFor time.Duration) (*Hook, error) {
	h := &Hook{now: time.Now}
	if err := h.SetConfig(cfg); err != nil {
		return nil, err
	}
	h.slots = make(chan struct{}, h.current.Load().Concurrency)
	h.breaker = breaker.New[[]byte]("connect hook", openFor, func(err error) bool { return errors.Is(err, errLeft) },
		func() *slog.Logger { return h.current.Load().Logger })
	return h, nil
}

// SetConfig replaces the configuration for handshakes from now on, except Concurrency.
func (h *Hook) SetConfig(cfg Config) error {
	client, err := cfg.validate()
	if err != nil {
		return err
	}
	if old := h.current.Swap(&settings{cfg, client}); old != nil {
		old.client.CloseIdleConnections()
	}
	return nil
}

// Ready returns an error while the circuit breaker lets no request through, because the backend
// has failed.
func (h *Hook) Ready() error {
	switch {
	case h.breaker.Open() == 0:
		return nil
	case h.current.Load().Failure == Anonymous:
		return fmt.Errorf("the backend has failed %d times in a row: clients are anonymous until it answers", breaker.TripAfter)
	}
	return fmt.Errorf("the backend has failed %d times in a row: clients are rejected with 503 until it answers", breaker.TripAfter)
}

// Close closes the connections to the backend that are not in use.
func (h *Hook) Close() { h.current.Load().client.CloseIdleConnections() }

// errLeft says that the client of a request left, or that its handshake took too long: the
// backend is not to blame.
var errLeft = errors.New("the client does not wait any more")

// errInvalid is the answer to a client when that of the backend is invalid.
var errInvalid = &server.Rejection{Status: http.StatusBadGateway, Text: "the server could not identify the client"}

// Identify is a server.Identifier that blocks.
func (h *Hook) Identify(ctx context.Context, r *server.Request) (server.Identity, error) {
	set := h.current.Load()
	question, err := json.Marshal(set.question(r), json.Deterministic(true))
	if err != nil { // values of the handshake that are not UTF-8
		return server.Identity{}, server.Reject(http.StatusBadRequest, "a header, cookie or query parameter is not UTF-8")
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		h.left.Add(1)
		return server.Identity{}, unavailable()
	}
	body, err := h.breaker.Execute(func() ([]byte, error) { return set.ask(ctx, question, h.now) })
	switch {
	case err == nil:
		return h.decide(body)
	case errors.Is(err, errLeft):
		h.left.Add(1)
		return server.Identity{}, unavailable()
	case errors.Is(err, breaker.ErrOpen):
		h.skipped.Add(1)
	default:
		h.failed.Add(1)
		h.log("connect hook failed", err)
	}
	if set.Failure == Anonymous {
		h.anonymous.Add(1)
		return server.Identity{User: "anonymous:" + rand.Text(), ValidUntil: h.now()}, nil // no ticket: the next handshake asks again
	}
	return server.Identity{}, unavailable()
}

// unavailable spreads the return of clients over some seconds.
func unavailable() error {
	return &server.Rejection{
		Status: http.StatusServiceUnavailable,
		Text:   "the server cannot identify clients at the moment, try again later",
		Header: http.Header{"Retry-After": {strconv.Itoa(5 + mathrand.IntN(6))}},
	}
}

// decide reads the answer of the backend.
func (h *Hook) decide(body []byte) (server.Identity, error) {
	id, err := parseAnswer(body, h.now())
	var rejection *server.Rejection
	switch {
	case err == nil:
		h.accepted.Add(1)
	case errors.As(err, &rejection):
		h.rejected.Add(1)
	default:
		h.invalid.Add(1)
		h.log("connect hook answer is invalid", err)
		return server.Identity{}, errInvalid
	}
	return id, err
}

// log logs a failure, at most one a second.
func (h *Hook) log(text string, err error) {
	if h.logged.Due(h.now()) {
		set := h.current.Load()
		set.Logger.Error(text, "url", set.URL, "err", err, "failed", h.failed.Load(), "invalid", h.invalid.Load())
	}
}

// question describes a handshake.
func (set *settings) question(r *server.Request) *Question {
	q := &Question{
		Path: r.Path(), Host: r.Host(),
		Headers: make(map[string][]string), Cookies: make(map[string]string), Query: make(map[string][]string),
	}
	if addr := r.RemoteAddr(); addr.IsValid() {
		q.RemoteAddr = addr.Addr().Unmap().String()
	}
	for _, name := range set.Headers {
		if values := r.Headers(name); values != nil {
			q.Headers[strings.ToLower(name)] = values
		}
	}
	for _, name := range set.Cookies {
		if value := r.Cookie(name); value != "" {
			q.Cookies[name] = value
		}
	}
	for _, name := range set.Query {
		if values := r.QueryAll(name); values != nil {
			q.Query[name] = values
		}
	}
	return q
}

// ask makes a request, and returns the body of the answer.
func (set *settings) ask(ctx context.Context, question []byte, now func() time.Time) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, errLeft
	}
	bound, cancel := context.WithTimeout(ctx, set.Timeout)
	defer cancel()
	r, err := callout.NewPost(bound, set.URL, question)
	if err != nil {
		return nil, err
	}
	began := now()
	callout.Sign(r.Header, set.Secrets, "msg_"+rand.Text(), began, question)
	body, _, err := callout.Do(set.client, r, maxAnswer)
	switch {
	case err != nil && ctx.Err() != nil && (errors.Is(ctx.Err(), context.Canceled) || now().Sub(began) < set.Timeout/2):
		return nil, errLeft // a handshake that waited long may have had no time for a request
	case err != nil && bound.Err() != nil:
		return nil, errors.New("no answer within " + set.Timeout.String())
	}
	return body, err
}

// EachMetric calls f for each metric, see api.Measured.
func (h *Hook) EachMetric(f func(name, help, label, value string, n int64)) {
	for _, o := range []struct {
		result string
		n      int64
	}{
		{"accepted", h.accepted.Load()}, {"rejected", h.rejected.Load()}, {"invalid", h.invalid.Load()},
		{"failed", h.failed.Load()}, {"skipped", h.skipped.Load()}, {"canceled", h.left.Load()},
	} {
		f("connect_hook_total", "Handshakes that asked the connect hook, by result.", "result", o.result, o.n)
	}
	f("connect_hook_anonymous_total", "Sessions opened for an anonymous user because the connect hook failed.", "", "", h.anonymous.Load())
	f("connect_hook_requests", "Requests to the connect hook under way.", "", "", int64(len(h.slots)))
	f("connect_hook_open", "1 while the circuit breaker lets no request through.", "", "", h.breaker.Open())
}
