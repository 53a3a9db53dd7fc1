package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"fanfare/server/identity"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/roster"
)

// MemberChange says that a user has joined or left a presence topic, with the first or the last
// session that subscribes to it.
type MemberChange struct {
	Topic, User string
	Present     bool
}

// MaxListedMembers is the number of members up to which presence messages name users.
const MaxListedMembers = roster.MaxListed

// membersEvery gathers changes into one message for each topic.
const membersEvery = 100 * time.Millisecond

// memberKey is a user who subscribes to a topic.
type memberKey struct{ topic, user string }

// members tells the subscribers of Config.PresenceTopics who joins and leaves. A nil *members
// tells nothing.
type members struct {
	srv *Server // immutable

	// mu is held across a look at the subscriptions of a user and what follows of it: mu →
	// registry locks, the Observer's.
	mu     sync.Mutex
	here   map[memberKey]struct{} // who subscribes on this node; guarded by mu
	roster *roster.Roster         // nil: another node of the cluster announces; guarded by mu
	timer  *time.Timer            // runs announce; guarded by mu
	due    time.Time              // of timer; zero: it does not run; guarded by mu
	ended  bool                   // guarded by mu
}

func newMembers(srv *Server) *members {
	if len(srv.cfg.PresenceTopics) == 0 {
		return nil
	}
	ms := &members{srv: srv, here: make(map[memberKey]struct{})}
	ms.timer = time.AfterFunc(time.Hour, func() { srv.cfg.Announce(ms) })
	ms.timer.Stop()
	if srv.cluster == nil {
		ms.roster = roster.New(srv.cfg.PresenceGrace)
	}
	return ms
}

// reviewTopic is called after each change of the subscriptions of a user to a topic.
func (srv *Server) reviewTopic(topic, user string) {
	srv.events.review(topic)
	srv.members.review(topic, user, false)
}

// review records whether a user subscribes to a topic. known says that this was announced
// before, by another process.
func (ms *members) review(topic, user string, known bool) {
	if ms == nil || user == "" || !identity.Covers(ms.srv.cfg.PresenceTopics, topic) {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	key := memberKey{topic, user}
	_, before := ms.here[key]
	after := ms.subscribes(key)
	if before == after {
		return
	}
	if after {
		ms.here[key] = struct{}{}
	} else {
		delete(ms.here, key)
	}
	switch {
	case ms.srv.cluster != nil:
		kind := MemberLeft
		if after {
			kind = MemberJoined
		}
		ms.srv.events.report(Event{Kind: kind, Topic: topic, User: user})
	case known:
		ms.roster.Seed(topic, user)
	default:
		now := ms.srv.wall()
		ms.roster.Set(topic, user, after, now)
		ms.scheduleLocked(now)
	}
}

// subscribes reports whether a session of a user subscribes to a topic. It looks at the sessions
// of the user, which are few.
func (ms *members) subscribes(key memberKey) bool {
	var room [16]*Session
	for _, s := range ms.srv.users.AppendUser(room[:0], key.user) {
		if ms.srv.users.Subscribed(s, key.topic) {
			return true
		}
	}
	return false
}

// scheduleLocked starts the timer, for what has changed and for the end of a grace period.
func (ms *members) scheduleLocked(now time.Time) {
	at := ms.roster.Next()
	if ms.roster.Changed() {
		at = now.Add(membersEvery)
	}
	if ms.ended || at.IsZero() || !ms.due.IsZero() && !at.Before(ms.due) {
		return
	}
	ms.due = at
	ms.timer.Reset(at.Sub(now))
}

// Announcer sends presence messages.
type Announcer func(*members)

// AnnounceMembers is the Announcer.
func AnnounceMembers(ms *members) { ms.announce() }

// announce tells subscribers what has changed.
func (ms *members) announce() {
	ms.mu.Lock()
	if ms.roster == nil || ms.ended {
		ms.due = time.Time{}
		ms.mu.Unlock()
		return
	}
	now := ms.srv.wall()
	ms.roster.Expire(now)
	all := ms.roster.Flush()
	ms.mu.Unlock()
	for i := range all {
		ms.publish(&all[i])
	}
	ms.mu.Lock() // so that announcements do not overtake each other
	defer ms.mu.Unlock()
	if ms.due = (time.Time{}); ms.roster != nil {
		ms.scheduleLocked(ms.srv.wall())
	}
}

// publish sends an announcement to the subscribers on all nodes. One that is too long with its
// names goes without them.
func (ms *members) publish(a *roster.Announcement) {
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
func (srv *Server) LeadMembers(present []MemberChange) {
	ms := srv.members
	if ms == nil {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.roster = roster.New(0) // package presence knows the grace period
	for _, c := range present {
		ms.roster.Seed(c.Topic, c.User)
	}
}

// ChangeMembers announces changes in the whole cluster, on the node that leads.
func (srv *Server) ChangeMembers(changes []MemberChange) {
	ms := srv.members
	if ms == nil {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.roster == nil {
		return
	}
	now := srv.wall()
	for _, c := range changes {
		ms.roster.Set(c.Topic, c.User, c.Present, now)
	}
	ms.scheduleLocked(now)
}

// ResignMembers ends what LeadMembers has begun.
func (srv *Server) ResignMembers() {
	if ms := srv.members; ms != nil {
		ms.mu.Lock()
		ms.roster = nil
		ms.mu.Unlock()
	}
}

// end ends announcements.
func (ms *members) end() {
	if ms != nil {
		ms.mu.Lock()
		ms.ended = true
		ms.timer.Stop()
		ms.mu.Unlock()
	}
}
