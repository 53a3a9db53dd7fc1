package server

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/registry"
	"fanfare/server/identity"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/replay"
	"fanfare/server/revoke"
)

// This file has what a backend does with the sessions of a user, on all nodes: a method sends a
// Command to the other nodes, and does the same on this one.

// Disconnect closes all sessions of a user, on all nodes, and returns their number.
func (srv *Server) Disconnect(ctx context.Context, user string, code Code, reason string) (Delivery, error) {
	return srv.nodes.Count(ctx, Target{User: user}, &Command{Verb: VerbClose, User: user, Code: code, Reason: reason})
}

func (srv *Server) disconnectHere(user string, code Code, reason string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Close(code, reason) {
			n++
		}
	}
	return n
}

// SubscribeUser subscribes the sessions that a user has now, on all nodes, to a
// topic, and returns how many do. Sessions that are opened later do not. The error
// is registry.ErrTooManyTopics if a session has no room for one more.
func (srv *Server) SubscribeUser(ctx context.Context, user, topic string) (Delivery, error) {
	return srv.nodes.SubscribeUser(ctx, user, topic)
}

func (srv *Server) subscribeHere(user, topic string) (n int, err error) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if _, e := s.subscribe(topic, replay.Start{}, true); e != nil {
			err = e
			continue
		}
		n++
	}
	return n, err
}

// UnsubscribeUser ends the subscription of a user's sessions, on all nodes, and
// returns how many subscribed.
func (srv *Server) UnsubscribeUser(ctx context.Context, user, topic string) (Delivery, error) {
	return srv.nodes.Count(ctx, Target{User: user}, &Command{Verb: VerbUnsubscribe, User: user, Topic: topic})
}

func (srv *Server) unsubscribeHere(user, topic string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Unsubscribe(topic) {
			n++
		}
	}
	return n
}

// RefreshUser changes the sessions that a user has now, on all nodes, and returns their
// number. Sessions that are opened later have the identity that they prove.
func (srv *Server) RefreshUser(ctx context.Context, user string, change IdentityChange) (Delivery, error) {
	if err := change.Validate(); err != nil {
		return Delivery{}, err
	}
	text, err := json.Marshal(change)
	if err != nil { // names were checked to be UTF-8
		return Delivery{}, err
	}
	c := &Command{Verb: VerbRefresh, User: user, Op: Text, Payload: text}
	n, answer, err := srv.nodes.Do(ctx, Target{User: user}, c, func() int { return srv.refreshLocal(user, &change) })
	return Delivery{Receivers: n, Coverage: answer.Coverage}, err
}

func (srv *Server) refreshLocal(user string, c *IdentityChange) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.phase() == open {
			s.change(c)
			n++
		}
	}
	srv.stats.Refreshes.Add(int64(n))
	return n
}

// change applies a change to the session.
func (s *Session) change(c *IdentityChange) {
	was, _ := s.capabilities()
	var id Identity
	id.MaySubscribe, id.MayPublish, id.MayReadPresence = was.Subscribe.Names(), was.Publish.Names(), was.Presence.Names()
	if x := s.ext.Load(); x != nil {
		id.Limits = SessionLimits{Messages: int(x.maxMessages.Load()), Topics: int(x.maxTopics.Load())}
	}
	identity.Apply(c, &id)
	s.grant(&id)
	if c.Expires != nil {
		var at time.Time
		if *c.Expires > 0 {
			at = fromSeconds(*c.Expires)
		}
		s.setExpiry(at)
	}
	if c.Subscribe == nil {
		return
	}
	for _, topic := range s.Topics() {
		if !Covers(*c.Subscribe, topic) && s.Unsubscribe(topic) {
			if d, tells := s.dialect().(unsubscriber); tells {
				d.unsubscribed(s, topic)
			}
		}
	}
}

// unsubscriber is a Dialect that tells a client about the end of a subscription.
type unsubscriber interface {
	unsubscribed(s *Session, topic string)
}

func (*v1) unsubscribed(s *Session, topic string) {
	v1Client{s}.Send(fanfarev1.Object{Type: "unsubscribe", Topic: topic})
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
