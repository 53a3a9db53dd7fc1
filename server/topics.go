package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fanfare/registry"
	"fanfare/server/identity"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/roster"
	"fanfare/server/node"
)

// Subscribe subscribes the session to a topic. It returns an error if the name is
// malformed, or the session has too many subscriptions or is closed. The messages of a
// durable topic are delivered from the position that the user has acknowledged.
func (s *Session) Subscribe(topic string) error {
	_, err := s.subscribe(topic, replay.Start{}, false)
	return err
}

// SubscribeAfter is Subscribe to a durable topic for a client that has all messages up to
// a position. For a topic that is not durable the client is told of a gap.
func (s *Session) SubscribeAfter(p Position) error {
	_, err := s.subscribe(p.Topic, replay.Start{Resume: true, Epoch: p.Epoch, Offset: p.Offset}, false)
	return err
}

// SubscribeFor is Subscribe to a durable topic for a client whose handshake does not identify
// a user: the position is that of reader, a name as that of a user, in place of the session's user. It
// is stored at once, so that a first-time subscriber that leaves again misses nothing. vouched
// says that the client cannot have chosen the names by itself, so that the position does not
// count for Config.PositionsPerUser and PositionsPerIP. The reader stays that of the first call
// until Unsubscribe.
func (s *Session) SubscribeFor(reader, topic string, vouched bool) error {
	if err := registry.CheckName(reader); err != nil {
		return err
	}
	_, err := s.subscribeAs(topic, replay.Subscription{Reader: reader, Remember: true, Exempt: vouched})
	return err
}

// MaxRewind bounds SubscribeRewind, and the parameter rewind of a handshake.
const MaxRewind = fanfarev1.MaxRewind

// SubscribeRewind is Subscribe to a durable topic for a client that first wants the last n
// stored messages, 1 to MaxRewind, whether its user has acknowledged them or not: 1 is the last
// value. It has no effect on a topic that the session subscribes to already. The error is
// ErrNotDurable if the topic is not durable.
func (s *Session) SubscribeRewind(topic string, n int) error {
	if n < 1 || n > MaxRewind {
		return fmt.Errorf("server: rewind is %d: want 1 to %d", n, MaxRewind)
	}
	_, err := s.subscribe(topic, replay.Start{Rewind: uint16(n)}, false)
	return err
}

// subscribe is Subscribe that also reports whether Dialect.Begin follows for the topic.
// exempt says that the client cannot have chosen the name, so that its position is not
// limited by Config.PositionsPerUser and PositionsPerIP.
func (s *Session) subscribe(topic string, from replay.Start, exempt bool) (begins bool, err error) {
	return s.subscribeAs(topic, replay.Subscription{Start: from, Exempt: exempt})
}

// subscribeAs is subscribe with what concerns a durable topic.
func (s *Session) subscribeAs(topic string, sub replay.Subscription) (begins bool, err error) {
	if err := registry.CheckName(topic); err != nil {
		return false, err
	}
	srv, added := s.srv(), false
	switch {
	case srv.Durable(topic):
		begins, added, err = s.subscribeDurable(topic, sub)
	case sub.Start.Rewind > 0:
		return false, fmt.Errorf("%w: %q", ErrNotDurable, topic)
	default:
		added, err = s.join(topic)
		if begins = added && sub.Start.Resume; begins {
			s.callBegin(Position{Topic: topic, Gap: true}) // nothing is stored that the client may have missed
		}
	}
	if err == nil {
		srv.holdTopic(topic)
		srv.reviewTopic(topic, s.User())
	}
	if added && err == nil {
		s.topicChanged(topic, true)
	}
	if added || begins {
		s.touch()
	}
	return begins, err
}

// join subscribes the session to a topic in the registry, within its limit.
func (s *Session) join(topic string) (added bool, err error) {
	most := 0
	if x := s.ext.Load(); x != nil {
		most = int(x.maxTopics.Load())
	}
	return s.srv().users.SubscribeWithin(s, topic, most)
}

// topicChanged calls Hooks.OnTopic.
func (s *Session) topicChanged(topic string, subscribed bool) {
	s.traceTopic(topic, subscribed)
	if hook := s.endpoint().Hooks.OnTopic; hook != nil {
		s.guard(func() { hook(s, topic, subscribed) })
	}
}

// Unsubscribe reports whether the session subscribed to the topic. The user's
// position in a durable topic stays stored.
func (s *Session) Unsubscribe(topic string) bool {
	srv := s.srv()
	removed := false
	if srv.Durable(topic) {
		removed = s.unsubscribeDurable(topic)
	} else {
		removed = srv.users.Unsubscribe(s, topic)
	}
	if removed {
		srv.reviewTopic(topic, s.User())
		s.topicChanged(topic, false)
		s.touch()
	}
	return removed
}

// The rest of this file tells the subscribers of Config.PresenceTopics who joins and leaves.

// MemberChange says that a user has joined or left a presence topic, with the first or the last
// session that subscribes to it.
type MemberChange = node.MemberChange

// MaxListedMembers is the number of members up to which presence messages name users.
const MaxListedMembers = roster.MaxListed

// newMembers returns nil without presence topics.
func newMembers(srv *Server) *roster.Members {
	if len(srv.cfg.PresenceTopics) == 0 {
		return nil
	}
	return roster.NewMembers(&members{srv}, srv.cluster != nil, srv.cfg.PresenceGrace, srv.cfg.Announce)
}

// reviewTopic is called after each change of the subscriptions of a user to a topic.
func (srv *Server) reviewTopic(topic, user string) {
	srv.events.review(topic)
	srv.members.Review(topic, user, false)
}

// Announcer sends presence messages.
type Announcer func(*roster.Members)

// AnnounceMembers is the Announcer.
func AnnounceMembers(ms *roster.Members) { ms.Announce() }

// members is the server as package roster sees it.
type members struct{ srv *Server }

func (ms *members) Wall() time.Time { return ms.srv.wall() }
func (ms *members) Covers(topic string) bool {
	return identity.Covers(ms.srv.cfg.PresenceTopics, topic)
}

// Subscribes looks at the sessions of the user, which are few.
func (ms *members) Subscribes(topic, user string) bool {
	var room [16]*Session
	for _, s := range ms.srv.users.AppendUser(room[:0], user) {
		if ms.srv.users.Subscribed(s, topic) {
			return true
		}
	}
	return false
}

// Observe reports a change to package presence.
func (ms *members) Observe(c MemberChange) {
	kind := MemberLeft
	if c.Present {
		kind = MemberJoined
	}
	ms.srv.events.report(Event{Kind: kind, Topic: c.Topic, User: c.User})
}

// Publish sends an announcement to the subscribers on all nodes. One that is too long with its
// names goes without them.
func (ms *members) Publish(a *roster.Announcement) {
	srv := ms.srv
	for _, o := range []fanfarev1.Presence{{Topic: a.Topic, Members: a.Members, Joined: a.Joined, Left: a.Left}, {Topic: a.Topic, Members: a.Members}} {
		object := o.Encode()
		if len(object) > srv.cfg.MaxPayload {
			continue
		}
		_, err := srv.deliver(context.Background(), Target{Topic: a.Topic}, NewMessage(Text, object),
			func() int { return srv.membersHere(a.Topic, object) },
			func() *Command { return &Command{Verb: VerbMembers, Topic: a.Topic, Op: Text, Payload: object} })
		if err != nil {
			srv.log.Warn("presence message dropped", "topic", a.Topic, "err", err)
		}
		return
	}
}

// membersHere sends a presence message to the subscribers on this node that may read it and can
// tell it from other messages.
func (srv *Server) membersHere(topic string, object []byte) int {
	m := NewMessage(Text, object)
	m.content.Presence = true
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = slices.DeleteFunc(srv.users.AppendTopic(*l, topic), func(s *Session) bool { return !s.readsPresence(topic) })
	return deliverMany(*l, m, srv.topicPolicy())
}

// readsPresence reports whether a session gets the presence messages of a topic.
func (s *Session) readsPresence(topic string) bool {
	if _, ok := s.dialect().(PresenceDialect); !ok {
		return false
	}
	return s.endpoint().Insecure || s.MayReadPresence(topic)
}

// LeadMembers makes this node of a cluster the one that announces members, see package presence.
// present are the members that were announced.
func (srv *Server) LeadMembers(present []MemberChange) { srv.members.Lead(present) }

// ChangeMembers announces changes in the whole cluster, on the node that leads.
func (srv *Server) ChangeMembers(changes []MemberChange) { srv.members.Change(changes) }

// ResignMembers ends what LeadMembers has begun.
func (srv *Server) ResignMembers() { srv.members.Resign() }
