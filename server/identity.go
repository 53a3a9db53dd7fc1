package server

import (
	"context"
	"errors"
	"math"
	"time"
	"unique"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/identity"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/handshake"
	"fanfare/server/revoke"
	"fanfare/server/where"
)

// What a client may do is in package identity.
type (
	// Identity says to which user a session belongs, and what it may do.
	Identity = identity.Identity
	// SessionLimits are limits of one session, below those of the server.
	SessionLimits = identity.Limits
	// IdentityChange is a change of what the open sessions of a user may do, and for how long.
	IdentityChange = identity.Change
)

// ParseIdentityChange reads a change strictly: a member that is unknown, repeated or null is
// an error, since it may have been meant to take something away. The error names no value.
func ParseIdentityChange(text []byte) (IdentityChange, error) { return identity.ParseChange(text) }

// Covers reports whether a topic is in a list of names, of which names that end
// with "*" stand for every name with that prefix.
func Covers(list []string, topic string) bool { return identity.Covers(list, topic) }

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
	if err := identity.Check(&id); err != nil {
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
		if was.Subscribe.Covers(topic) && !Covers(id.MaySubscribe, topic) && s.Unsubscribe(topic) {
			ended = append(ended, topic)
		}
	}
	s.touch()
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
// sends nothing, and which can only be told of presence.
func (s *Session) grant(id *Identity) {
	var may unique.Handle[identity.Capabilities]
	if !s.stream() && (!s.raw() || len(id.MayPublish)+len(id.MayReadPresence) > 0) {
		may = identity.Share(id.MaySubscribe, id.MayPublish, id.MayReadPresence)
	} else if s.stream() && s.srv().members != nil {
		may = identity.Share(nil, nil, id.MayReadPresence)
	}
	x := s.ext.Load()
	if x == nil && may == identity.None && id.Limits == (SessionLimits{}) {
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

// clamped is a limit in the memory of a session.
func clamped(n int) uint32 { return uint32(min(n, math.MaxInt32)) }

// capabilities returns what the client may do; false: nothing.
func (s *Session) capabilities() (c identity.Capabilities, ok bool) {
	x := s.ext.Load()
	if x == nil {
		return c, false
	}
	x.mu.Lock()
	may := x.may
	x.mu.Unlock()
	if may == identity.None {
		return c, false
	}
	return may.Value(), true
}

// MaySubscribe reports whether the session's client may subscribe to a topic of its
// own accord: Identity.MaySubscribe names it.
func (s *Session) MaySubscribe(topic string) bool {
	c, ok := s.capabilities()
	return ok && c.Subscribe.Covers(topic)
}

// MayPublish reports whether the session's client may publish to a topic:
// Identity.MayPublish names it. Hooks and dialects that publish for clients ask.
func (s *Session) MayPublish(topic string) bool {
	c, ok := s.capabilities()
	return ok && c.Publish.Covers(topic)
}

// MayReadPresence reports whether the session's client may learn who subscribes to a topic:
// Identity.MayReadPresence names it. Hooks and dialects that tell clients ask.
func (s *Session) MayReadPresence(topic string) bool {
	c, ok := s.capabilities()
	return ok && c.Presence.Covers(topic)
}

// setLabels gives the session labels that checkLabels accepts, in place of those that it has.
// Sessions with equal labels share them; a session without labels pays nothing.
func (s *Session) setLabels(m map[string]string) {
	x := s.ext.Load()
	if len(m) == 0 && x == nil {
		return
	}
	if x == nil {
		x = s.extend()
	}
	var labels unique.Handle[where.Labels]
	if l, err := where.MakeLabels(m); err == nil && l != "" {
		labels = unique.Make(l)
	}
	x.mu.Lock()
	x.labels = labels
	x.mu.Unlock()
}

// Labels returns the labels of the session: Identity.Labels, of the last Refresh if there was
// one. nil: it has none.
func (s *Session) Labels() map[string]string { return s.labels().Map() }

// labels is Labels without an allocation.
func (s *Session) labels() where.Labels {
	x := s.ext.Load()
	if x == nil {
		return ""
	}
	x.mu.Lock()
	labels := x.labels
	x.mu.Unlock()
	if labels == (unique.Handle[where.Labels]{}) {
		return ""
	}
	return labels.Value()
}

// fromSeconds returns the time that is some seconds after the beginning of 1970.
func fromSeconds(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

// checkRevoked rejects an identity that is revoked.
func (srv *Server) checkRevoked(id *Identity) error {
	list := srv.cfg.Revocations
	if list == nil || id.User == "" {
		return nil
	}
	issued := id.Issued
	if issued.IsZero() {
		issued = srv.wall()
	}
	switch list.Check(id.User, id.TokenID, issued) {
	case revoke.Unknown:
		return handshake.ErrRevocationsUnknown
	case revoke.Revoked:
		list.Rejected.Add(1)
		return handshake.ErrRevoked
	case revoke.Blocked:
		list.Rejected.Add(1)
		return handshake.ErrBlocked
	}
	return nil
}

// keepCredential keeps what a revocation may name of an identity. A session without that was
// identified when it was opened, without the ID of a token.
func (s *Session) keepCredential(id *Identity) {
	if s.srv().cfg.Revocations == nil || id.TokenID == "" && id.Issued.IsZero() {
		return
	}
	issued := id.Issued
	if issued.IsZero() {
		issued = s.srv().wall()
	}
	s.extend().credential.Store(&handover.Credential{Token: id.TokenID, Issued: float64(issued.Unix()) + float64(issued.Nanosecond())/1e9})
}

// closeIfRevoked closes the session if its identity is revoked, and reports whether it has.
// A session calls it when it is open, and what puts an entry in force calls it for all open
// sessions afterwards, so that none escapes that was identified before.
func (s *Session) closeIfRevoked() bool {
	list := s.srv().cfg.Revocations
	if list == nil || !s.listed() {
		return false
	}
	token, issued := "", s.Opened()
	if x := s.ext.Load(); x != nil {
		if c := x.credential.Load(); c != nil {
			token, issued = c.Token, fromSeconds(c.Issued)
		}
	}
	closed := false
	switch list.Check(s.User(), token, issued) {
	case revoke.Revoked:
		closed = s.Close(StatusUnauthorized, "the token is revoked")
	case revoke.Blocked:
		closed = s.Close(StatusPolicyViolation, "the user is revoked")
	}
	if closed {
		list.Closed.Add(1)
	}
	return closed
}

// closeRevoked closes the sessions of this node that are revoked, those of one user or, if
// user is empty, all.
func (srv *Server) closeRevoked(user string) (n int) {
	if user != "" {
		for _, s := range srv.users.AppendUser(nil, user) {
			if s.closeIfRevoked() {
				n++
			}
		}
		return n
	}
	return srv.countAll(func(h netpoll.Handler) bool {
		s, ok := h.(handler)
		return ok && s.s.closeIfRevoked()
	})
}

// ErrNoRevocations: the server was made without Config.Revocations.
var ErrNoRevocations = errors.New("server: no revocations: Config.Revocations is nil")

// Revocation is the outcome of Server.Revoke.
type Revocation struct {
	// Entry that is in force.
	revoke.Entry
	// Stored says that the entry outlasts the process.
	Stored bool
	// Delivery has the number of sessions that were closed, and the nodes that have not
	// confirmed the entry. They read it from the store later.
	Delivery
}

// Revoke puts a revocation in force on all nodes, and closes the sessions that it concerns:
// with 3000 if a new token helps, with 1008 if the user is revoked whenever a token was
// issued. It returns when the entry is stored; see revoke.List.Add for the errors.
func (srv *Server) Revoke(ctx context.Context, e revoke.Entry) (Revocation, error) {
	list := srv.cfg.Revocations
	if list == nil {
		return Revocation{}, ErrNoRevocations
	}
	if e.User != "" {
		if err := registry.CheckName(e.User); err != nil {
			return Revocation{}, errors.Join(revoke.ErrInvalid, err)
		}
	}
	e, err := list.Add(ctx, e)
	if err != nil {
		return Revocation{}, err
	}
	d := srv.tellOfRevocation(ctx, VerbRevoke, e.Encode(), func() int { return srv.closeRevoked(e.User) })
	return Revocation{e, list.Stored(), d}, nil
}

// Unrevoke removes the revocation of that ID, on all nodes. The error is that of
// revoke.List.Remove.
func (srv *Server) Unrevoke(ctx context.Context, id string) (Coverage, error) {
	list := srv.cfg.Revocations
	if list == nil {
		return Coverage{}, ErrNoRevocations
	}
	if err := list.Remove(ctx, id); err != nil {
		return Coverage{}, err
	}
	d := srv.tellOfRevocation(ctx, VerbUnrevoke, []byte(id), func() int { return 0 })
	return d.Coverage, nil
}

// tellOfRevocation does on all nodes what is stored already.
func (srv *Server) tellOfRevocation(ctx context.Context, v Verb, payload []byte, local func() int) Delivery {
	c := &Command{Verb: v, Op: Text, Payload: payload}
	n, answer, err := srv.nodes.Do(ctx, Target{}, c, local)
	if err != nil {
		return Delivery{Receivers: local(), Coverage: Coverage{Unreachable: err}}
	}
	return Delivery{Receivers: n, Coverage: answer.Coverage}
}

// applyRevocation serves VerbRevoke and VerbUnrevoke of another node.
func (srv *Server) applyRevocation(c *Command) (closed int, err error) {
	list := srv.cfg.Revocations
	if list == nil {
		return 0, ErrNoRevocations
	}
	if c.Verb == VerbUnrevoke {
		list.Forget(string(c.Payload))
		return 0, nil
	}
	e, err := revoke.Decode(c.Payload)
	if err != nil {
		return 0, err
	}
	list.Apply(e)
	return srv.closeRevoked(e.User), nil
}
