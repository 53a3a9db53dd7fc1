package server

import (
	"errors"
	"slices"
	"unicode/utf8"

	"fanfare/server/internal/handshake"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
	"fanfare/server/store"
)

// This file reports what happens to a session to the traces of its user. Each function costs one
// atomic load while no trace runs.

// traced returns the traces of the session's user.
func (s *Session) traced() []*trace.Log {
	if t := s.srv().traces; t.Running() {
		return t.Of(s.User())
	}
	return nil
}

// traceEvent returns an event of the session.
func (s *Session) traceEvent(kind string) TraceEvent {
	srv := s.srv()
	return TraceEvent{Event: kind, Time: srv.wall().UTC().Round(0), Node: srv.nodeName(), Session: s.fullID()}
}

// addEvent adds an event to traces.
func addEvent(to []*trace.Log, e TraceEvent) {
	for _, l := range to {
		l.Add(e)
	}
}

// traceRejected reports a handshake that was rejected after its user was identified.
func (s *Session) traceRejected(user string, ep *endpoint, r *Request, err error) {
	to := s.srv().traces.Of(user)
	if to == nil || errors.Is(err, ErrClosed) {
		return
	}
	var rejection *Rejection
	if !isRejection(err, &rejection) {
		rejection = handshake.Fault(err)
	}
	e := s.traceEvent(node.TraceRejected)
	e.Session, e.Endpoint, e.Status, e.Reason = "", ep.Path, rejection.Status, rejection.Text
	if addr := r.RemoteAddr(); addr.IsValid() {
		e.RemoteAddr = addr.String()
	}
	addEvent(to, e)
}

func (s *Session) traceOpened() {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceOpened)
	e.Endpoint, e.Dialect, e.Topics = s.endpoint().Path, s.dialectName(), s.Topics()
	slices.Sort(e.Topics)
	if addr := s.RemoteAddr(); addr.IsValid() {
		e.RemoteAddr = addr.String()
	}
	addEvent(to, e)
}

func (s *Session) traceClosed(why CloseError) {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceClosed)
	e.Code, e.Reason, e.By = why.Code, why.Reason, "server"
	switch {
	case s.state.Load()&clientCodeBit != 0:
		e.By = "client"
	case why.Code == StatusAbnormalClosure:
		e.By = "network"
	}
	addEvent(to, e)
}

// traceDelivered reports a message that was written or queued.
func (s *Session) traceDelivered(c Content) {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceDelivered)
	e.Bytes, e.Queued, e.Topic, e.Epoch, e.Offset = len(c.Payload), s.Queued(), c.Topic, c.Epoch, c.Offset
	with := e
	if slices.ContainsFunc(to, func(l *trace.Log) bool { return l.Payload }) {
		setPayload(&with, c)
	}
	for _, l := range to {
		if l.Payload {
			l.Add(with)
		} else {
			l.Add(e)
		}
	}
}

// setPayload copies the payload of a message to its event.
func setPayload(e *TraceEvent, c Content) {
	b := c.Payload
	if e.Cut = len(b) > trace.MaxPayload; e.Cut {
		b = b[:trace.MaxPayload]
		for c.Op == Text && len(b) > 0 && !utf8.Valid(b[max(len(b)-utf8.UTFMax, 0):]) && !utf8.RuneStart(c.Payload[len(b)]) {
			b = b[:len(b)-1] // not a part of a character
		}
	}
	if c.Op == Text && utf8.Valid(b) {
		text := string(b)
		e.Text = &text
		return
	}
	e.Base64 = slices.Clone(b)
}

// traceStored is replay.Config.Delivered.
func (srv *Server) traceStored(r replay.Receiver, m *replay.Message) {
	if !srv.traces.Running() {
		return
	}
	c := Content{Topic: m.Box.Topic, Epoch: m.Epoch, Offset: m.Offset, Op: Text}
	if shared, ok := m.Shared.(*Message); ok {
		c.Op, c.Payload = shared.Op(), shared.Payload()
	} else if c.Payload = m.Stored.Payload; m.Stored.Binary {
		c.Op = Binary
	}
	r.(receiver).s.traceDelivered(c)
}

// traceAcknowledged is replay.Config.Acknowledged.
func (srv *Server) traceAcknowledged(r replay.Receiver, b store.Box, epoch string, offset uint64) {
	if !srv.traces.Running() {
		return
	}
	s := r.(receiver).s
	if to := s.traced(); to != nil {
		e := s.traceEvent(node.TraceAcknowledged)
		e.Topic, e.Epoch, e.Offset = b.Topic, epoch, offset
		addEvent(to, e)
	}
}

// traceDropped reports that messages were dropped.
func (s *Session) traceDropped(reason string) {
	if to := s.traced(); to != nil {
		e := s.traceEvent(node.TraceDropped)
		e.Queued, e.Reason = s.Queued(), reason
		addEvent(to, e)
	}
}

func (s *Session) traceTopic(topic string, subscribed bool) {
	to := s.traced()
	if to == nil || s.phase() != open { // the end of a session ends its subscriptions
		return
	}
	kind := node.TraceSubscribed
	if !subscribed {
		kind = node.TraceUnsubscribed
	}
	e := s.traceEvent(kind)
	e.Topic = topic
	addEvent(to, e)
}

func (s *Session) traceTimeout() {
	if to := s.traced(); to != nil {
		addEvent(to, s.traceEvent(node.TracePingTimeout))
	}
}
