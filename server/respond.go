package server

import (
	"context"
	"errors"
	"slices"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/stats"
)

// Responder answers messages of clients: the requests of clients of fanfare.v1, and
// everything that clients of dialects like Plain send. The answer is sent to the session that
// the message came from, while that is open. nil answers a request with an empty reply, and a
// plain message with nothing.
//
// It may block: it runs on one of Config.Responders goroutines, one call after another for a
// session, in the order of its messages. ctx ends when the server does. It is also called for
// messages of sessions that have ended meanwhile. An error that is a RequestError is told to
// a client of fanfare.v1; any other error, and a panic, is logged, and told as an internal
// error.
type Responder func(ctx context.Context, in Inbound) (*Message, error)

// Inbound is a message of a client. It is the Responder's, payload included.
type Inbound struct {
	User      string // empty: the session has none
	SessionID string // SessionInfo.ID
	Endpoint  string // Endpoint.Path
	// ID is what a client of fanfare.v1 calls its request; empty: it has no name.
	ID      string
	Op      Op
	Payload []byte

	session *Session // nil: a program has made the value
}

// RequestError is an error of a Responder for the client: a code such as "rejected", for
// programs, and a text for people.
type RequestError struct{ Code, Message string }

func (e *RequestError) Error() string { return e.Code + ": " + e.Message }

// requestBytes bounds the messages that wait for a Responder, or are answered.
const requestBytes = 16 << 20

// errNoRequests is the answer to a request that nothing answers.
var errNoRequests = &fanfarev1.Error{Code: "no_requests", Message: "this server answers no requests"}

// Request has the endpoint's Responder answer a request.
func (c v1Client) Request(id string, p fanfarev1.Payload) error {
	s := c.s
	if s.endpoint().Respond == nil {
		return errNoRequests
	}
	in := Inbound{ID: id, Op: Text, Payload: p.Bytes}
	if p.Binary {
		in.Op = Binary
	}
	return s.request(in, func(m *Message, err error) {
		if err != nil {
			fanfarev1.Answer(c, id, err)
			return
		}
		reply := fanfarev1.Message{}
		if m != nil {
			reply = fanfarev1.Message{Binary: m.Op() != Text, Payload: m.Payload()}
		}
		s.Reply(frame.Prepare(Text, reply.EncodeReply(id)))
	})
}

// requestPlain has the endpoint's Responder answer a message that has no envelope.
func (s *Session) requestPlain(op Op, payload []byte) {
	s.request(Inbound{Op: op, Payload: slices.Clone(payload)}, func(m *Message, err error) {
		if err == nil && m != nil && m.Len() > 0 {
			s.SendMessage(m)
		}
	})
}

// request calls the Responder on a goroutine of its own, and then answer, whose error is for
// the client. An error of request itself is, too: the Responder is not called then.
func (s *Session) request(in Inbound, answer func(*Message, error)) error {
	srv, ep := s.srv(), s.endpoint()
	in.User, in.SessionID, in.Endpoint, in.session = s.User(), s.fullID(), ep.Path, s
	err := v1Client{s}.enqueue(srv.responding, len(in.Payload), func() {
		defer s.recovered("answer to a client")
		m, err := ep.respond(srv.quit, in)
		var told *RequestError
		switch {
		case err == nil && (m == nil || m.Len() == 0):
			srv.stats.Requests[stats.RequestEmpty].Add(1)
		case err == nil:
			srv.stats.Requests[stats.RequestAnswered].Add(1)
		case errors.As(err, &told):
			srv.stats.Requests[stats.RequestRejected].Add(1)
			err = &fanfarev1.Error{Code: told.Code, Message: told.Message}
		default:
			srv.stats.Requests[stats.RequestFailed].Add(1)
			srv.log.Error("responder failed", "err", err, "endpoint", ep.Path, "user", in.User)
			err = &fanfarev1.Error{Code: "internal", Message: "internal error"}
		}
		answer(m, err)
	})
	if err != nil {
		srv.stats.Requests[stats.RequestBusy].Add(1)
	}
	return err
}

// PublishTo returns a Responder that publishes messages to a topic, if the session may publish
// to it, see Session.MayPublish: to all its subscribers but the session itself, or, if it is
// durable, to all. The answer is empty. An error says what is wrong with the topic.
func PublishTo(topic string) (Responder, error) {
	if err := registry.CheckName(topic); err != nil {
		return nil, err
	}
	return func(_ context.Context, in Inbound) (*Message, error) {
		if in.session == nil {
			return nil, errNoSession
		}
		_, err := in.session.publishCounted(topic, in.Op, in.Payload)
		var told *fanfarev1.Error
		if errors.As(err, &told) {
			err = &RequestError{Code: told.Code, Message: told.Message}
		}
		return nil, err
	}, nil
}

var errNoSession = errors.New("server: PublishTo needs an Inbound that the server has made: it has the session")

// respond calls the Responder.
func (ep *endpoint) respond(ctx context.Context, in Inbound) (m *Message, err error) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Responder", v, "endpoint", ep.Path, "user", in.User)
			m, err = nil, errResponderPanic
		}
	}()
	return ep.Respond(ctx, in)
}

// errResponderPanic: the panic has been logged.
var errResponderPanic = errors.New("server: panic in the Responder")
