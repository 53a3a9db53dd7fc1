package server

import (
	"context"

	"fanfare/server/internal/audience"
	"fanfare/server/node"
)

// Audience says which sessions receive a message.
type Audience = node.Audience

// MaxExcluded bounds Audience.ExcludeUsers and ExcludeSessions, each.
const MaxExcluded = node.MaxExcluded

// ErrAudience is wrapped by errors about an Audience or a Pace.
var ErrAudience = node.ErrAudience

// Deliver sends a message to an audience, on all nodes of the cluster, as Push does. Nodes
// of an older version, which know neither exclusions nor labels, send nothing and are reported missing.
func (srv *Server) Deliver(ctx context.Context, to Audience, m *Message) (Delivery, error) {
	if err := to.Check(); err != nil {
		return Delivery{}, err
	}
	if !audience.Narrowed(&to) {
		switch users, topics := len(to.Users), len(to.Topics); {
		case to.Everyone:
			return srv.Broadcast(ctx, m)
		case users == 1 && topics == 0:
			return srv.Push(ctx, to.Users[0], m)
		case topics == 1 && users == 0:
			return srv.Publish(ctx, to.Topics[0], m)
		}
		return srv.PushMany(ctx, to.Users, to.Topics, m)
	}
	return srv.deliverNarrowed(ctx, to, m)
}

// deliverNarrowed is Deliver for an audience that leaves out sessions. Its own copy of the
// audience moves to the heap.
func (srv *Server) deliverNarrowed(ctx context.Context, to Audience, m *Message) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	local := func() int { return srv.deliverLocal(&to, m) }
	if srv.cluster == nil {
		return Delivery{Receivers: local()}, nil
	}
	c := &Command{Verb: VerbDeliver, Audience: to, Op: m.Op(), Payload: m.Payload()}
	return srv.deliver(ctx, audience.TargetOf(&to), c, local)
}

// selectionOf returns the selection of an audience that Check accepts.
func (srv *Server) selectionOf(to *Audience) *audience.Selection {
	self := ""
	if srv.cluster != nil {
		self = srv.cluster.Name()
	}
	return audience.Select(to, self)
}

// selected reports whether a session that is open is a receiver.
func selected(sel *audience.Selection, s *Session) bool {
	return sel == nil || !sel.Excludes(s.User(), s.ID()) && (sel.Where == nil || sel.Where.Match(s.labels()))
}

// keepSelected removes the sessions that are not selected from a list, in place.
func keepSelected(sel *audience.Selection, list []*Session) []*Session {
	if sel == nil {
		return list
	}
	kept := list[:0]
	for _, s := range list {
		if selected(sel, s) {
			kept = append(kept, s)
		}
	}
	clear(list[len(kept):]) // they go back to a pool
	return kept
}

// deliverHere sends a message to the selected sessions of this process.
func (srv *Server) deliverHere(to *Audience, m *Message) int {
	sel := srv.selectionOf(to)
	switch users, topics := len(to.Users), len(to.Topics); {
	case to.Everyone:
		return srv.broadcastHere(m, sel)
	case users == 1 && topics == 0:
		return srv.pushHere(to.Users[0], m, sel)
	case topics == 1 && users == 0:
		return srv.publishHere(to.Topics[0], m, nil, sel)
	}
	return srv.pushManyHere(to.Users, to.Topics, m, sel)
}
