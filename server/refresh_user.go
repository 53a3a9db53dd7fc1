package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// IdentityChange is a change of what the open sessions of a user may do, and for how long.
// A field that is nil changes nothing.
type IdentityChange struct {
	// Expires is when the sessions are closed with 3000, in seconds since 1970; 0: never.
	Expires *float64 `json:"expires,omitzero"`
	// Subscribe, Publish and Presence replace MaySubscribe, MayPublish and
	// MayReadPresence of Identity. Subscribe also ends all subscriptions to topics that it
	// does not cover, those made through the API included.
	Subscribe *[]string `json:"subscribe,omitzero"`
	Publish   *[]string `json:"publish,omitzero"`
	Presence  *[]string `json:"presence,omitzero"`
	// Limits replaces Identity.Limits.
	Limits *SessionLimits `json:"limits,omitzero"`
}

// maxExpires is the last second of the year 9999.
const maxExpires = 253402300799

// Validate returns what is wrong with a change.
func (c *IdentityChange) Validate() error {
	if e := c.Expires; e != nil && (math.IsNaN(*e) || *e < 0 || *e > maxExpires) {
		return fmt.Errorf("server: expires is %v: want seconds since 1970, or 0 for never", *e)
	}
	id := Identity{}
	c.apply(&id)
	if err := id.checkCapabilities(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// apply changes what id says of capabilities and limits.
func (c *IdentityChange) apply(id *Identity) {
	for _, l := range []struct {
		from *[]string
		to   *[]string
	}{{c.Subscribe, &id.MaySubscribe}, {c.Publish, &id.MayPublish}, {c.Presence, &id.MayReadPresence}} {
		if l.from != nil {
			*l.to = *l.from
		}
	}
	if c.Limits != nil {
		id.Limits = *c.Limits
	}
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
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, c, func() int { return srv.refreshLocal(user, &change) })
	return Delivery{n, answer.Coverage}, err
}

// ParseIdentityChange reads a change strictly: a member that is unknown, repeated or null is
// an error, since it may have been meant to take something away. The error names no value.
func ParseIdentityChange(text []byte) (c IdentityChange, err error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return c, errors.New("a member is there more than once")
		}
		return c, errors.New("not one JSON object")
	}
	for name, value := range members {
		if value.Kind() == 'n' {
			return c, fmt.Errorf("member %.40q is null: leave it out, or give a value", name)
		}
	}
	if err := json.Unmarshal(text, &c, json.RejectUnknownMembers(true)); err != nil {
		var e *json.SemanticError
		switch {
		case !errors.As(err, &e):
			return IdentityChange{}, errors.New("not one JSON object")
		case errors.Is(err, json.ErrUnknownName):
			return IdentityChange{}, fmt.Errorf("unknown member %.40q: want expires, subscribe, publish, presence or limits", e.JSONPointer.LastToken())
		}
		return IdentityChange{}, fmt.Errorf("member %.40q has the wrong type or value", e.JSONPointer)
	}
	return c, c.Validate()
}

func (srv *Server) refreshLocal(user string, c *IdentityChange) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.phase() == open {
			s.change(c)
			n++
		}
	}
	srv.stats.refreshes.Add(int64(n))
	return n
}

// change applies a change to the session.
func (s *Session) change(c *IdentityChange) {
	was, _ := s.capabilities()
	var id Identity
	id.MaySubscribe, id.MayPublish, id.MayReadPresence = was.lists()
	if x := s.ext.Load(); x != nil {
		id.Limits = SessionLimits{Messages: int(x.maxMessages.Load()), Topics: int(x.maxTopics.Load())}
	}
	c.apply(&id)
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
	object{Type: "unsubscribe", Topic: topic}.send(s)
}
