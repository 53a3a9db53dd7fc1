package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/lane"
	"fanfare/server/stats"
	"fanfare/server/store"
)

// This file has what clients publish, and what a Responder answers. What may wait
// for a store, for other nodes or for a backend runs on goroutines of its own, so that no worker
// waits with it, and messages of one session stay in order. Reading goes on meanwhile: pongs
// and acknowledgements do not wait. A session that waits for nothing has no lane.

// Bounds of what clients have published, and is not delivered or stored yet.
const (
	publishers       = 64
	publishesWaiting = 4096
	publishBytes     = 16 << 20
	publishTimeout   = 10 * time.Second
	// inLane is how many messages of one session wait.
	inLane = 64
)

// newLanes returns lanes for messages of clients.
func (srv *Server) newLanes(goroutines, waiting, bytes int) *lane.Lanes[*Session] {
	return lane.New[*Session](lane.Config{Goroutines: goroutines, PerKey: min(inLane, waiting+1), Total: waiting, Bytes: bytes, Start: srv.background.Go})
}

// Errors of clients that publish.
var (
	errMayNotPublish = &fanfarev1.Error{Code: "forbidden", Message: "this user may not publish to the topic"}
	errBusy          = &fanfarev1.Error{Code: "busy", Message: "too many messages of this session are waiting: await the answers of earlier ones"}
	errServerBusy    = &fanfarev1.Error{Code: "busy", Message: "too many messages of clients are waiting: try again later"}
)

// Publish publishes a message of the client to all subscribers of a topic but its own
// session. A message in a durable topic is stored, and reaches that, too, if it subscribes:
// its position is one in a sequence that all subscribers share.
func (c v1Client) Publish(id, topic string, p fanfarev1.Payload) error {
	srv := c.s.srv()
	if !c.s.MayPublish(topic) {
		srv.stats.Publishes[stats.PublishForbidden].Add(1)
		return errMayNotPublish
	}
	op := Text
	if p.Binary {
		op = Binary
	}
	err := c.enqueue(srv.publishing, len(p.Bytes), func() {
		defer c.s.recovered("publish of a client")
		o, err := c.s.publishCounted(topic, op, p.Bytes)
		if err != nil {
			fanfarev1.Answer(c, id, err)
			return
		}
		o.ID = id
		c.Send(o)
	})
	if err != nil {
		srv.stats.Publishes[stats.PublishBusy].Add(1)
	}
	return err
}

// enqueue runs a function after the earlier functions of the session. The error is for the
// client.
func (c v1Client) enqueue(to *lane.Lanes[*Session], size int, run func()) error {
	c.s.touch() // it is at rest again when the function has returned
	switch err := to.Go(c.s, size, run); {
	case errors.Is(err, lane.ErrKeyFull):
		return errBusy
	case err != nil:
		return errServerBusy
	}
	return nil
}

// publishCounted is publishNow, and counts its result.
func (s *Session) publishCounted(topic string, op Op, payload []byte) (fanfarev1.Object, error) {
	o, err := s.publishNow(topic, op, payload)
	result := stats.PublishAccepted
	switch {
	case err == errMayNotPublish:
		result = stats.PublishForbidden
	case err != nil:
		result = stats.PublishFailed
	}
	s.srv().stats.Publishes[result].Add(1)
	return o, err
}

// publishNow publishes a message of the session's client, and returns the answer. An error is
// for the client.
func (s *Session) publishNow(topic string, op Op, payload []byte) (fanfarev1.Object, error) {
	srv := s.srv()
	ctx, cancel := context.WithTimeout(srv.quit, publishTimeout)
	defer cancel()
	answer := fanfarev1.Object{Type: "publish", Topic: topic}
	if !s.MayPublish(topic) { // not any more
		return answer, errMayNotPublish
	}
	if !srv.Durable(topic) {
		_, err := srv.PublishExcept(ctx, topic, NewMessage(op, payload), s)
		return answer, srv.publishProblem(err)
	}
	st, err := srv.PublishStored(ctx, topic, Entry{Op: op, Payload: payload})
	if err == nil && st.Epoch != "" {
		answer.Epoch, answer.Offset = st.Epoch, &st.Offset
	}
	return answer, srv.publishProblem(err)
}

// publishProblem returns an error of a publish as the client is told.
func (srv *Server) publishProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooBig):
		return &fanfarev1.Error{Code: "too_big", Message: "the message is longer than this server publishes"}
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrDiskFull):
		return &fanfarev1.Error{Code: "full", Message: "the server has no room to store the message"}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, ErrStoreMoved), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &fanfarev1.Error{Code: "unavailable", Message: "the message may not be stored: try again later"}
	}
	srv.log.Error("publish of a client failed", "err", err)
	return &fanfarev1.Error{Code: "internal", Message: "internal error"}
}

// upstream returns the lanes of messages of clients.
func (srv *Server) upstream() []*lane.Lanes[*Session] {
	return []*lane.Lanes[*Session]{srv.publishing, srv.responding}
}

// hasUpstream reports whether a message of the session's client waits or is being worked on.
// Then the session does not move to another process, which could not answer it.
func (s *Session) hasUpstream() bool {
	return slices.ContainsFunc(s.srv().upstream(), func(l *lane.Lanes[*Session]) bool { return l.Busy(s) })
}

// awaitUpstream waits until no message of a client is left, or ctx is done.
func (srv *Server) awaitUpstream(ctx context.Context) {
	for _, l := range srv.upstream() {
		if l.Wait(ctx) != nil {
			return
		}
	}
}

// waitingUpstream returns how many messages of clients wait or are being worked on.
func (srv *Server) waitingUpstream() (n int) {
	for _, l := range srv.upstream() {
		n += l.Len()
	}
	return n
}

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
