package connecthook

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server"
	"fanfare/server/internal/callout"
	"fanfare/server/internal/hook"
)

// Hook asks a backend who a client is. It is safe for concurrent use.
type Hook struct {
	caller *hook.Caller[Config, []byte]
	slots  chan struct{} // a place for each request under way
	now    func() time.Time

	accepted  atomic.Int64
	rejected  atomic.Int64
	anonymous atomic.Int64
	invalid   atomic.Int64 // answers
	failed    atomic.Int64 // requests
	skipped   atomic.Int64 // requests that the breaker has not let through
	left      atomic.Int64 // requests canceled because the client left, or waited too long
}

// New returns a Hook. It makes no request.
func New(cfg Config) (*Hook, error) { return newHook(cfg, hook.OpenFor) }

func newHook(cfg Config, openFor time.Duration) (*Hook, error) {
	caller, err := hook.New[Config, []byte]("connect hook", cfg, Config.backend, openFor, func(err error) bool { return errors.Is(err, errLeft) })
	if err != nil {
		return nil, err
	}
	return &Hook{caller: caller, slots: make(chan struct{}, caller.Settings().Conns), now: time.Now}, nil
}

// SetConfig replaces the configuration for handshakes from now on, except Concurrency.
func (h *Hook) SetConfig(cfg Config) error { return h.caller.SetConfig(cfg) }

// Ready returns an error while the circuit breaker lets no request through, because the backend
// has failed.
func (h *Hook) Ready() error {
	if h.caller.Settings().Config.Failure == Anonymous {
		return h.caller.Ready("clients are anonymous")
	}
	return h.caller.Ready("clients are rejected with 503")
}

// Close closes the connections to the backend that are not in use.
func (h *Hook) Close() { h.caller.Close() }

// errLeft says that the client of a request left, or that its handshake took too long: the
// backend is not to blame.
var errLeft = errors.New("the client does not wait any more")

// errInvalid is the answer to a client when that of the backend is invalid.
var errInvalid = &server.Rejection{Status: http.StatusBadGateway, Text: "the server could not identify the client"}

// Identify is a server.Identifier that blocks.
func (h *Hook) Identify(ctx context.Context, r *server.Request) (server.Identity, error) {
	set := h.caller.Settings()
	question, err := json.Marshal(set.Config.question(r), json.Deterministic(true))
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
	body, err := h.caller.Execute(func() ([]byte, error) { return ask(ctx, set.Backend, question, h.now) })
	switch {
	case err == nil:
		return h.decide(body)
	case errors.Is(err, errLeft):
		h.left.Add(1)
		return server.Identity{}, unavailable()
	case errors.Is(err, hook.ErrOpen):
		h.skipped.Add(1)
	default:
		h.failed.Add(1)
		h.log("connect hook failed", err)
	}
	if set.Config.Failure == Anonymous {
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

func (h *Hook) log(text string, err error) {
	h.caller.Log(h.now(), text, err, "failed", h.failed.Load(), "invalid", h.invalid.Load())
}

// question describes a handshake.
func (cfg *Config) question(r *server.Request) *Question {
	q := &Question{
		Path: r.Path(), Host: r.Host(),
		Headers: make(map[string][]string), Cookies: make(map[string]string), Query: make(map[string][]string),
	}
	if addr := r.RemoteAddr(); addr.IsValid() {
		q.RemoteAddr = addr.Addr().Unmap().String()
	}
	for _, name := range cfg.Headers {
		if values := r.Headers(name); values != nil {
			q.Headers[strings.ToLower(name)] = values
		}
	}
	for _, name := range cfg.Cookies {
		if value := r.Cookie(name); value != "" {
			q.Cookies[name] = value
		}
	}
	for _, name := range cfg.Query {
		if values := r.QueryAll(name); values != nil {
			q.Query[name] = values
		}
	}
	return q
}

// ask makes a request, and returns the body of the answer.
func ask(ctx context.Context, b *hook.Backend, question []byte, now func() time.Time) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, errLeft
	}
	bound, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	began := now()
	r, err := b.NewPost(bound, "msg_"+rand.Text(), began, question)
	if err != nil {
		return nil, err
	}
	body, _, err := callout.Do(b.Client, r, maxAnswer)
	switch {
	case err != nil && ctx.Err() != nil && (errors.Is(ctx.Err(), context.Canceled) || now().Sub(began) < b.Timeout/2):
		return nil, errLeft // a handshake that waited long may have had no time for a request
	case err != nil && bound.Err() != nil:
		return nil, errors.New("no answer within " + b.Timeout.String())
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
	f("connect_hook_open", "1 while the circuit breaker lets no request through.", "", "", h.caller.Open())
}
