package server

import (
	"context"
	"errors"
	"math"
	"time"
	"unique"
)

// Refresher returns the identity that a token of the client proves, for a session that is
// open: clients of fanfare.v1 send it before the former one expires. It may block, as
// Hooks.OnMessage may; ctx ends with Config.HandshakeTimeout. An error that is a Rejection
// is told to the client.
type Refresher func(ctx context.Context, s *Session, token string) (Identity, error)

// ErrOtherUser: an identity belongs to another user than the session.
var ErrOtherUser = errors.New("server: the identity is another user's")

// Refresh gives the session the expiry, the capabilities, the labels and the limits of id, in place of
// those that it has. It ends the subscriptions that the client was allowed to make and is
// not any more, and returns their topics; it does not subscribe to id.Topics, and does not
// change the Data. The error is ErrOtherUser, ErrClosed, a Rejection if id is revoked, or
// says what is wrong with id.
func (s *Session) Refresh(id Identity) (ended []string, err error) {
	switch {
	case id.User == "" || id.User != s.User():
		return nil, ErrOtherUser
	case s.phase() != open:
		return nil, ErrClosed
	}
	if err := id.checkCapabilities(); err != nil {
		return nil, err
	}
	if err := s.srv().checkRevoked(&id); err != nil {
		return nil, err
	}
	if id.Issued.IsZero() {
		id.Issued = s.srv().wall()
	}
	was, _ := s.capabilities()
	s.grant(&id)
	s.keepCredential(&id)
	s.setLabels(id.Labels)
	s.setExpiry(id.Expires)
	for _, topic := range s.Topics() {
		if coveredBy(was.subscribe, topic) && !Covers(id.MaySubscribe, topic) && s.Unsubscribe(topic) {
			ended = append(ended, topic)
		}
	}
	if s.closeIfRevoked() { // revoked since it was checked
		return ended, ErrClosed
	}
	return ended, nil
}

// setExpiry says when an open session is closed; the zero time: never.
func (s *Session) setExpiry(at time.Time) {
	if at.IsZero() && s.ext.Load() == nil {
		return
	}
	s.extend().expires.Store(s.srv().tickAt(at))
	s.armHeartbeat(1) // heartbeat arms the timer anew, for what comes first
}

// expiresIn returns the whole seconds until the session is closed because its identity
// expires, at least 1; 0: never.
func (s *Session) expiresIn() int64 {
	x := s.ext.Load()
	if x == nil || x.expires.Load() == 0 {
		return 0
	}
	return max((int64(x.expires.Load())-int64(s.srv().tick.Load()))/int64(ticksPerSecond), 1)
}

// grant gives a session what its identity may do, except a session of a raw dialect, whose
// client has no way to subscribe, and may do nothing else, and one of a Stream, whose client
// sends nothing.
func (s *Session) grant(id *Identity) {
	var may unique.Handle[capabilities]
	if !s.stream() && (!s.raw() || len(id.MayPublish)+len(id.MayReadPresence) > 0) {
		may = share(id.MaySubscribe, id.MayPublish, id.MayReadPresence)
	}
	x := s.ext.Load()
	if x == nil && may == (unique.Handle[capabilities]{}) && id.Limits == (SessionLimits{}) {
		return
	}
	if x == nil {
		x = s.extend()
	}
	x.mu.Lock()
	x.may = may
	x.mu.Unlock()
	x.maxMessages.Store(clamped(id.Limits.Messages))
	x.maxTopics.Store(clamped(id.Limits.Topics))
}

// refreshEvery bounds how often a client may refresh its session: a signature takes as long
// to verify as many messages to read.
const refreshEvery = 1 * ticksPerSecond

// refresh serves a client's {"type":"refresh"}.
func (r *command) refresh(s *Session) {
	f := s.endpoint().Refresh
	x, now := s.extend(), s.srv().tick.Load()
	switch {
	case f == nil:
		sendError(s, "no_refresh", "this server takes no tokens of open sessions: connect again")
		return
	case r.Token == "":
		sendError(s, "refresh_failed", "a refresh needs a token")
		return
	case x.refreshed != 0 && now-x.refreshed < refreshEvery:
		sendError(s, "refresh_failed", "one refresh a second: try again later")
		return
	}
	x.refreshed = now
	ctx, cancel := context.WithTimeout(s.srv().quit, s.srv().live().HandshakeTimeout)
	defer cancel()
	id, err := f(ctx, s, r.Token)
	var ended []string
	if err == nil {
		ended, err = s.Refresh(id)
	}
	var rejection *Rejection
	switch {
	case err == nil:
	case errors.Is(err, ErrClosed):
		return
	case errors.Is(err, ErrOtherUser):
		sendError(s, "refresh_failed", "the token is another user's")
		return
	case errors.As(err, &rejection):
		sendError(s, "refresh_failed", rejection.Text)
		return
	default:
		s.srv().log.Error("refresh failed", "err", err)
		sendError(s, "refresh_failed", "internal error")
		return
	}
	s.srv().stats.refreshes.Add(1)
	for _, topic := range ended {
		object{Type: "unsubscribe", Topic: topic}.send(s)
	}
	o := object{Type: "refresh", ExpiresIn: s.expiresIn()}
	if !id.Expires.IsZero() {
		o.Expires = id.Expires.Unix()
	}
	o.send(s)
}

// clamped is a limit in the memory of a session.
func clamped(n int) uint32 { return uint32(min(n, math.MaxInt32)) }
