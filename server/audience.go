package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"fanfare/registry"
	"fanfare/server/where"
)

// Audience says which sessions receive a message: those of Users, subscribers of Topics, or
// Everyone with a user, less those that are excluded or do not meet Where. A session matched more than once
// receives the message once. The zero Audience is nobody.
type Audience struct {
	Everyone      bool // then Users and Topics are empty
	Users, Topics []string
	// ExcludeUsers are users whose sessions do not receive the message. A user without a
	// session is not an error.
	ExcludeUsers []string
	// ExcludeSessions are values of SessionInfo.ID, of any node. A session that has ended is
	// not an error.
	ExcludeSessions []string
	// Where, unless nil, is what the labels of a receiver meet.
	Where *where.Expr
}

// MaxExcluded bounds Audience.ExcludeUsers and ExcludeSessions, each.
const MaxExcluded = 100

// ErrAudience is wrapped by errors about an Audience or a Pace.
var ErrAudience = errors.New("server: invalid audience")

func audienceErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAudience, fmt.Sprintf(format, args...))
}

// Deliver sends a message to an audience, on all nodes of the cluster, as Push does. Nodes
// of an older version, which know neither exclusions nor labels, send nothing and are reported missing.
func (srv *Server) Deliver(ctx context.Context, to Audience, m *Message) (Delivery, error) {
	if err := to.check(); err != nil {
		return Delivery{}, err
	}
	if !to.narrowed() {
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
	return srv.deliver(ctx, to.target(), c, local)
}

// target is what the other nodes that have receivers hold.
func (to *Audience) target() Target {
	switch users, topics := len(to.Users), len(to.Topics); {
	case users == 1 && topics == 0:
		return Target{User: to.Users[0]}
	case topics == 1 && users == 0:
		return Target{Topic: to.Topics[0]}
	}
	return Target{}
}

// narrowed reports whether the audience leaves out sessions that it names.
func (to *Audience) narrowed() bool {
	return to.Where != nil || len(to.ExcludeUsers)+len(to.ExcludeSessions) > 0
}

// Check returns an error that wraps ErrAudience if a field has a value that Deliver rejects.
func (to *Audience) Check() error { return to.check() }

func (to *Audience) check() error {
	if to.Everyone && len(to.Users)+len(to.Topics) > 0 {
		return audienceErrorf("everyone includes the users and topics: remove them, or Everyone")
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"user", to.Users}, {"topic", to.Topics}, {"excluded user", to.ExcludeUsers}} {
		for _, name := range list.names {
			if err := registry.CheckName(name); err != nil {
				return audienceErrorf("%s: %s", list.what, err)
			}
		}
	}
	if n := max(len(to.ExcludeUsers), len(to.ExcludeSessions)); n > MaxExcluded {
		return audienceErrorf("%d names are excluded: want at most %d users and %d sessions", n, MaxExcluded, MaxExcluded)
	}
	for _, id := range to.ExcludeSessions {
		if _, _, err := cutSessionID(id); err != nil {
			return err
		}
	}
	return nil
}

// cutSessionID cuts the ID of a session into the name of its node, empty without a cluster,
// and its Session.ID.
func cutSessionID(id string) (node string, number uint64, err error) {
	at := strings.LastIndexByte(id, '/')
	if at > 0 {
		node = id[:at]
	}
	digits := id[at+1:]
	number, err = strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(number, 10) != digits || at == 0 || len(id) > 512 || !utf8.ValidString(id) {
		return "", 0, audienceErrorf("excluded session %.80q: want an id from a list of sessions", id)
	}
	return node, number, nil
}

// selection decides on the receivers of one message on this node. nil selects every session.
type selection struct {
	users    map[string]struct{} // excluded
	sessions map[uint64]struct{} // excluded, by Session.ID
	where    *where.Expr         // nil: all
}

// newSelection returns the selection of an audience that check accepts.
func (srv *Server) newSelection(to *Audience) *selection {
	if !to.narrowed() {
		return nil
	}
	sel := &selection{where: to.Where}
	if len(to.ExcludeUsers) > 0 {
		sel.users = make(map[string]struct{}, len(to.ExcludeUsers))
		for _, user := range to.ExcludeUsers {
			sel.users[user] = struct{}{}
		}
	}
	self := ""
	if srv.cluster != nil {
		self = srv.cluster.Name()
	}
	for _, id := range to.ExcludeSessions {
		if node, number, err := cutSessionID(id); err == nil && node == self {
			if sel.sessions == nil {
				sel.sessions = make(map[uint64]struct{}, len(to.ExcludeSessions))
			}
			sel.sessions[number] = struct{}{}
		}
	}
	return sel
}

// has reports whether a session that is open is selected.
func (sel *selection) has(s *Session) bool {
	if sel == nil {
		return true
	}
	if sel.users != nil {
		if _, excluded := sel.users[s.User()]; excluded {
			return false
		}
	}
	if sel.sessions != nil {
		if _, excluded := sel.sessions[s.ID()]; excluded {
			return false
		}
	}
	return sel.where == nil || sel.where.Match(s.labels())
}

// keep removes the sessions that are not selected from a list, in place.
func (sel *selection) keep(list []*Session) []*Session {
	if sel == nil {
		return list
	}
	kept := list[:0]
	for _, s := range list {
		if sel.has(s) {
			kept = append(kept, s)
		}
	}
	clear(list[len(kept):]) // they go back to a pool
	return kept
}

// deliverHere sends a message to the selected sessions of this process.
func (srv *Server) deliverHere(to *Audience, m *Message) int {
	sel := srv.newSelection(to)
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
