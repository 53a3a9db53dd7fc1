package messagehook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"fanfare/server"
	"fanfare/server/internal/breaker"
	"fanfare/server/internal/callout"
	"fanfare/server/internal/inbound"
)

// Hook has a backend answer messages. It is safe for concurrent use.
type Hook struct {
	current atomic.Pointer[settings]
	breaker *breaker.Breaker[answer]
	now     func() time.Time

	running atomic.Int64
	results [results]atomic.Int64
	logged  callout.Seldom // failures
}

// settings are a configuration and the client for its URL. They are immutable.
type settings struct {
	Config
	client *http.Client
}

// Message is the JSON document that the backend gets. ID is that of the header Webhook-Id.
type Message = inbound.Message

// New returns a Hook. It makes no request.
func New(cfg Config) (*Hook, error) { return newHook(cfg, breaker.OpenFor) }

func newHook(cfg Config, openFor time.Duration) (*Hook, error) {
	h := &Hook{now: time.Now}
	if err := h.SetConfig(cfg); err != nil {
		return nil, err
	}
	h.breaker = breaker.New[answer]("message hook", openFor, func(err error) bool { return errors.Is(err, context.Canceled) },
		func() *slog.Logger { return h.current.Load().Logger })
	return h, nil
}

// SetConfig replaces the configuration for messages from now on.
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
	if h.breaker.Open() == 0 {
		return nil
	}
	return fmt.Errorf("the backend has failed %d times in a row: messages of clients are rejected until it answers", breaker.TripAfter)
}

// Close closes the connections to the backend that are not in use.
func (h *Hook) Close() { h.current.Load().client.CloseIdleConnections() }

// What a client is told whose message the backend has not answered.
var (
	errTimeout     = &server.RequestError{Code: "timeout", Message: "the backend has not answered in time; it may have received the request"}
	errUnavailable = &server.RequestError{Code: "unavailable", Message: "the backend is not available, try again later"}
	errInvalid     = &server.RequestError{Code: "bad_answer", Message: "the answer of the backend is not valid"}
)

// Respond is a server.Responder.
func (h *Hook) Respond(ctx context.Context, in server.Inbound) (*server.Message, error) {
	set := h.current.Load()
	h.running.Add(1)
	defer h.running.Add(-1)
	a, err := h.breaker.Execute(func() (answer, error) { return set.ask(ctx, in, h.now()) })
	switch {
	case err == nil:
		return h.decide(&a)
	case errors.Is(err, breaker.ErrOpen):
		h.results[skipped].Add(1)
		return nil, errUnavailable
	case errors.Is(err, context.Canceled):
		h.results[canceled].Add(1)
		return nil, errUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		h.results[timedOut].Add(1)
		h.log("message hook failed", fmt.Errorf("no answer within %v", set.Timeout))
		return nil, errTimeout
	}
	h.results[failed].Add(1)
	h.log("message hook failed", err)
	return nil, errUnavailable
}

// decide turns an answer of the backend into that to the client.
func (h *Hook) decide(a *answer) (*server.Message, error) {
	m, err := a.message()
	var rejection *server.RequestError
	switch {
	case errors.As(err, &rejection):
		h.results[rejected].Add(1)
		return nil, rejection
	case err != nil:
		h.results[invalid].Add(1)
		h.log("message hook answer is invalid", err)
		return nil, errInvalid
	case m == nil:
		h.results[empty].Add(1)
	default:
		h.results[answered].Add(1)
	}
	return m, nil
}

// log logs a failure, at most one a second.
func (h *Hook) log(text string, err error) {
	if h.logged.Due(h.now()) {
		set := h.current.Load()
		set.Logger.Error(text, "url", set.URL, "err", err, "failed", h.results[failed].Load(), "timeouts", h.results[timedOut].Load())
	}
}

// document returns the body of a request.
func document(id string, in *server.Inbound) ([]byte, error) {
	m := Message{ID: id, Request: in.ID, User: in.User, Session: in.SessionID, Endpoint: in.Endpoint}
	return m.Encode(in.Op == server.Text, in.Payload)
}

// ask makes a request. An error is a failure of the backend, or that of ctx.
func (set *settings) ask(ctx context.Context, in server.Inbound, now time.Time) (a answer, err error) {
	id := "msg_" + rand.Text()
	body, err := document(id, &in)
	if err != nil {
		return a, err
	}
	bound, cancel := context.WithTimeout(ctx, set.Timeout)
	defer cancel()
	r, err := callout.NewPost(bound, set.URL, body)
	if err != nil {
		return a, err
	}
	callout.Sign(r.Header, set.Secrets, id, now, body)
	if a, err = exchange(set.client, r); err == nil {
		return a, a.failure()
	}
	if bound.Err() != nil {
		err = bound.Err()
	}
	return a, err
}
