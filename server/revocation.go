package server

import (
	"context"
	"errors"
	"math"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/handshake"
	"fanfare/server/revoke"
)

// fromSeconds returns the time that is some seconds after the beginning of 1970.
func fromSeconds(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
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
	n, answer, err := srv.onAllNodes(ctx, Target{}, c, local)
	if err != nil {
		return Delivery{local(), Coverage{Unreachable: err}}
	}
	return Delivery{n, answer.Coverage}
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
