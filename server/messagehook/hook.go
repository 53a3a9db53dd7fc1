package messagehook

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"fanfare/server"
	"fanfare/server/internal/hook"
	"fanfare/server/internal/inbound"
)

// Hook has a backend answer messages. It is safe for concurrent use.
type Hook struct {
	caller  *hook.Caller[Config, answer]
	now     func() time.Time
	results inbound.Results
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
func (h *Hook) Ready() error { return h.caller.Ready("messages of clients are rejected") }

// Close closes the connections to the backend that are not in use.
func (h *Hook) Close() { h.caller.Close() }

// Respond is a server.Responder.
func (h *Hook) Respond(ctx context.Context, in server.Inbound) (*server.Message, error) {
	set := h.caller.Settings()
	h.results.Running.Add(1)
	defer h.results.Running.Add(-1)
	a, err := h.caller.Execute(func() (answer, error) { return ask(ctx, set.Backend, in, h.now()) })
	var m *server.Message
	if err == nil {
		m, err = a.message()
	}
	return h.results.Tell(m, err, set.Timeout, h.log)
}

func (h *Hook) log(what string, err error) {
	h.caller.Log(h.now(), "message hook "+what, err, "failed", h.results.Failed(), "timeouts", h.results.Timeouts())
}

// EachMetric calls f for each metric, see api.Measured.
func (h *Hook) EachMetric(f func(name, help, label, value string, n int64)) {
	h.results.Each(inbound.Metrics{
		Prefix:   "message_hook",
		Total:    "Messages of clients for the message hook, by result.",
		Requests: "Requests to the message hook under way.",
		Open:     "1 while the circuit breaker lets no request through.",
	}, h.caller.Open(), f)
}

// ask makes a request. An error is a failure of the backend, or that of ctx.
func ask(ctx context.Context, b *hook.Backend, in server.Inbound, now time.Time) (a answer, err error) {
	id := "msg_" + rand.Text()
	body, err := inbound.Encode(id, &in)
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
