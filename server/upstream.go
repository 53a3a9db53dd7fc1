package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/lane"
	"fanfare/server/stats"
	"fanfare/server/store"
)

// This file has what clients publish, and respond.go what a Responder answers. What may wait
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
