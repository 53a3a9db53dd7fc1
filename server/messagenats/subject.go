package messagenats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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

	running atomic.Int64
	results [results]atomic.Int64
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

// What a client is told whose message has no answer.
var (
	errTimeout     = &server.RequestError{Code: "timeout", Message: "the backend has not answered in time; it may have received the request"}
	errUnavailable = &server.RequestError{Code: "unavailable", Message: "the backend is not available, try again later"}
	errInvalid     = &server.RequestError{Code: "bad_answer", Message: "the answer of the backend is not valid"}
	errTooBig      = &server.RequestError{Code: "too_big", Message: "the message is longer than the backend receives"}
)

// Respond is a server.Responder.
func (s *Subject) Respond(ctx context.Context, in server.Inbound) (*server.Message, error) {
	s.running.Add(1)
	defer s.running.Add(-1)
	bound, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	reply, err := s.breaker.Execute(func() (*nats.Msg, error) { return s.send(bound, &in) })
	switch {
	case err == nil:
		return s.decide(reply)
	case errors.Is(err, breaker.ErrOpen):
		s.results[skipped].Add(1)
		return nil, errUnavailable
	case ctx.Err() != nil:
		s.results[canceled].Add(1)
		return nil, errUnavailable
	case errors.Is(err, nats.ErrMaxPayload):
		s.results[tooBig].Add(1)
		s.log(fmt.Errorf("%w, which is %d bytes", err, s.nc.MaxPayload()))
		return nil, errTooBig
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		s.results[timedOut].Add(1)
		s.log(fmt.Errorf("no answer within %v", s.cfg.Timeout))
		return nil, errTimeout
	}
	s.results[failed].Add(1)
	s.log(err)
	return nil, errUnavailable
}

// send publishes a message, and returns the reply of the program, or nil if Config.Answer waits
// for something else.
func (s *Subject) send(ctx context.Context, in *server.Inbound) (*nats.Msg, error) {
	id := "msg_" + rand.Text()
	doc := Message{ID: id, Request: in.ID, User: in.User, Session: in.SessionID, Endpoint: in.Endpoint}
	body, err := doc.Encode(in.Op == server.Text, in.Payload)
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

// decide turns a reply into the answer to the client.
func (s *Subject) decide(reply *nats.Msg) (*server.Message, error) {
	m, err := message(reply)
	var rejection *server.RequestError
	switch {
	case errors.As(err, &rejection):
		s.results[rejected].Add(1)
	case err != nil:
		s.results[invalid].Add(1)
		s.log(err)
		err = errInvalid
	case m == nil:
		s.results[empty].Add(1)
	default:
		s.results[answered].Add(1)
	}
	return m, err
}

// log logs a failure, at most one a second.
func (s *Subject) log(err error) {
	if s.logged.Due(time.Now()) {
		s.cfg.Logger.Error("message subject failed", "subject", s.cfg.Subject, "err", err,
			"failed", s.results[failed].Load(), "timeouts", s.results[timedOut].Load())
	}
}
