package messagenats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server"
	"fanfare/server/internal/breaker"
	"fanfare/server/internal/callout"
	"fanfare/server/internal/inbound"
	"fanfare/server/internal/natsconn"
)

// Subject hands messages to NATS. It is safe for concurrent use.
type Subject struct {
	cfg     Config
	nc      *nats.Conn
	js      jetstream.JetStream
	breaker *breaker.Breaker[*nats.Msg]

	results inbound.Results
	logged  callout.Seldom // failures
}

// Message is the JSON document that is the payload of a NATS message. ID is that of the header Nats-Msg-Id.
type Message = inbound.Message

// Open connects to NATS. If that is unreachable, the Subject keeps trying, and rejects messages
// meanwhile. The caller must call Close.
func Open(cfg Config) (*Subject, error) { return open(cfg, breaker.OpenFor) }

func open(cfg Config, openFor time.Duration) (*Subject, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	nc, err := natsconn.Connect(cfg.nats(), natsconn.Handlers{})
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	s := &Subject{cfg: cfg, nc: nc, js: js}
	s.breaker = breaker.New[*nats.Msg]("message subject", openFor, harmless, func() *slog.Logger { return cfg.Logger })
	return s, nil
}

// Close closes the connection. Messages that are under way fail.
func (s *Subject) Close() { s.nc.Close() }

// Ready returns an error while the circuit breaker lets no message through, or NATS cannot be reached.
func (s *Subject) Ready() error {
	switch {
	case !s.nc.IsConnected():
		return errors.New("NATS cannot be reached: messages of clients are rejected until it answers")
	case s.breaker.Open() != 0:
		return fmt.Errorf("%d messages in a row have failed: messages of clients are rejected until one has an answer", breaker.TripAfter)
	}
	return nil
}

// harmless reports whether an error says nothing about whether the next message fails, or was
// returned at once, so that the circuit breaker need not count it.
func harmless(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrMaxPayload) || notTaken(err)
}

// notTaken reports whether nothing was there to take the message.
func notTaken(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting)
}

// Respond is a server.Responder.
func (s *Subject) Respond(ctx context.Context, in server.Inbound) (*server.Message, error) {
	s.results.Running.Add(1)
	defer s.results.Running.Add(-1)
	bound, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	reply, err := s.breaker.Execute(func() (*nats.Msg, error) { return s.send(bound, &in) })
	var m *server.Message
	switch {
	case err == nil:
		m, err = message(reply)
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, nats.ErrMaxPayload):
		err = &inbound.TooBigError{Problem: fmt.Errorf("%w, which is %d bytes", err, s.nc.MaxPayload())}
	case errors.Is(err, nats.ErrTimeout):
		err = context.DeadlineExceeded
	}
	return s.results.Tell(m, err, s.cfg.Timeout, s.log)
}

// send publishes a message, and returns the reply of the program, or nil if Config.Answer waits
// for something else.
func (s *Subject) send(ctx context.Context, in *server.Inbound) (*nats.Msg, error) {
	id := "msg_" + rand.Text()
	body, err := inbound.Encode(id, in)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: s.cfg.Subject, Data: body, Header: nats.Header{nats.MsgIdHdr: {id}}}
	switch s.cfg.Answer {
	case Stored:
		_, err = s.js.PublishMsg(ctx, m)
		return nil, err
	case Published:
		if err := s.nc.PublishMsg(m); err != nil {
			return nil, err
		}
		return nil, s.nc.FlushWithContext(ctx)
	}
	return s.nc.RequestMsgWithContext(ctx, m)
}

// log logs a failure, at most one a second.
func (s *Subject) log(_ string, err error) {
	if s.logged.Due(time.Now()) {
		s.cfg.Logger.Error("message subject failed", "subject", s.cfg.Subject, "err", err,
			"failed", s.results.Failed(), "timeouts", s.results.Timeouts())
	}
}

// EachMetric calls f for each metric, see api.Measured.
func (s *Subject) EachMetric(f func(name, help, label, value string, n int64)) {
	s.results.Each(inbound.Metrics{
		Prefix:   "message_subject",
		Total:    "Messages of clients for the NATS subject, by result.",
		Requests: "Messages for the NATS subject that wait for their answer.",
		Open:     "1 while the circuit breaker lets no message through.",
		TooBig:   true,
	}, s.breaker.Open(), f)
}
