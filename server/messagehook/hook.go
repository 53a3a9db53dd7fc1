package messagehook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"fanfare/server"
	"fanfare/server/internal/hook"
	"fanfare/server/internal/inbound"
)

// Hook has a backend answer messages. It is safe for concurrent use.
type Hook struct {
	caller *hook.Caller[Config, answer]
	now    func() time.Time

	running atomic.Int64
	results [results]atomic.Int64
}

// Message is the JSON document that the backend gets. ID is that of the header Webhook-Id.
type Message = inbound.Message

// New returns a Hook. It makes no request.
func New(cfg Config) (*Hook, error) { return newHook(cfg, hook.OpenFor) }

func newHook(cfg Config, openFor time.Duration) (*Hook, error) {
	caller, err := hook.New[Config, answer]("message hook", cfg, Config.backend, openFor, func(err error) bool { return errors.Is(err, context.Canceled) })
	if err != nil {
		return nil, err
	}
	return &Hook{caller: caller, now: time.Now}, nil
}

// SetConfig replaces the configuration for messages from now on.
func (h *Hook) SetConfig(cfg Config) error { return h.caller.SetConfig(cfg) }

// Ready returns an error while the circuit breaker lets no request through, because the backend
// has failed.
func (h *Hook) Ready() error {
	if h.caller.Open() == 0 {
		return nil
	}
	return fmt.Errorf("the backend has failed %d times in a row: messages of clients are rejected until it answers", hook.TripAfter)
}

// Close closes the connections to the backend that are not in use.
func (h *Hook) Close() { h.caller.Close() }

// What a client is told whose message the backend has not answered.
var (
	errTimeout     = &server.RequestError{Code: "timeout", Message: "the backend has not answered in time; it may have received the request"}
	errUnavailable = &server.RequestError{Code: "unavailable", Message: "the backend is not available, try again later"}
	errInvalid     = &server.RequestError{Code: "bad_answer", Message: "the answer of the backend is not valid"}
)

// Respond is a server.Responder.
func (h *Hook) Respond(ctx context.Context, in server.Inbound) (*server.Message, error) {
	set := h.caller.Settings()
	h.running.Add(1)
	defer h.running.Add(-1)
	a, err := h.caller.Execute(func() (answer, error) { return ask(ctx, set.Backend, in, h.now()) })
	switch {
	case err == nil:
		return h.decide(&a)
	case errors.Is(err, hook.ErrOpen):
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

func (h *Hook) log(text string, err error) {
	h.caller.Log(h.now(), text, err, "failed", h.results[failed].Load(), "timeouts", h.results[timedOut].Load())
}

// document returns the body of a request.
func document(id string, in *server.Inbound) ([]byte, error) {
	m := Message{ID: id, Request: in.ID, User: in.User, Session: in.SessionID, Endpoint: in.Endpoint}
	return m.Encode(in.Op == server.Text, in.Payload)
}

// ask makes a request. An error is a failure of the backend, or that of ctx.
func ask(ctx context.Context, b *hook.Backend, in server.Inbound, now time.Time) (a answer, err error) {
	id := "msg_" + rand.Text()
	body, err := document(id, &in)
	if err != nil {
		return a, err
	}
	bound, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	r, err := b.NewPost(bound, id, now, body)
	if err != nil {
		return a, err
	}
	if a, err = exchange(b.Client, r); err == nil {
		return a, a.failure()
	}
	if bound.Err() != nil {
		err = bound.Err()
	}
	return a, err
}
