package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/audience"
	"fanfare/server/internal/fanout"
	"fanfare/server/node"
	"fanfare/server/stats"
)

// Audience says which sessions receive a message.
type Audience = node.Audience

// MaxExcluded bounds Audience.ExcludeUsers and ExcludeSessions, each.
const MaxExcluded = node.MaxExcluded

// ErrAudience is wrapped by errors about an Audience or a Pace.
var ErrAudience = node.ErrAudience

// Delivery reports how many sessions a message has reached.
type Delivery = node.Delivery

// Push sends a message to all sessions of a user, on all nodes of the cluster. It
// returns when the local sessions have it written or queued and the other nodes
// concerned have answered, or half a second has passed.
func (srv *Server) Push(ctx context.Context, user string, m *Message) (Delivery, error) {
	if m.options != nil { // here and below: only VerbDeliver has them
		return srv.deliverNarrowed(ctx, Audience{Users: []string{user}}, m)
	}
	return srv.deliver(ctx, Target{User: user}, m, func() int { return srv.pushHere(user, m, nil) },
		func() *Command { return &Command{Verb: VerbPush, User: user, Op: m.Op(), Payload: m.Payload()} })
}

// Publish sends a message to all sessions that subscribe to a topic, as Push does.
// Publish stores nothing, even if the topic is durable: see PublishStored.
func (srv *Server) Publish(ctx context.Context, topic string, m *Message) (Delivery, error) {
	return srv.publish(ctx, topic, m, nil)
}

// PublishExcept is Publish for all subscribers but one: the session that caused
// the message, for example. It may be a session of another node.
func (srv *Server) PublishExcept(ctx context.Context, topic string, m *Message, except *Session) (Delivery, error) {
	return srv.publish(ctx, topic, m, except)
}

// PublishHere sends a message to the subscribers that are connected to this process, except those
// for which skip is true, and returns their number. It is for what each node of a cluster knows by
// itself. Options of the message have no effect.
func (srv *Server) PublishHere(topic string, m *Message, skip func(*Session) bool) (int, error) {
	if err := srv.fits(m); err != nil {
		return 0, err
	}
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = slices.DeleteFunc(srv.users.AppendTopic(*l, topic), skip)
	n := deliverMany(*l, m, srv.topicPolicy())
	srv.stats.Published.Add(int64(n))
	return n, nil
}

func (srv *Server) publish(ctx context.Context, topic string, m *Message, except *Session) (Delivery, error) {
	if m.options != nil {
		to := Audience{Topics: []string{topic}}
		if except != nil {
			to.ExcludeSessions = []string{except.fullID()}
		}
		return srv.deliverNarrowed(ctx, to, m)
	}
	return srv.deliver(ctx, Target{Topic: topic}, m, func() int { return srv.publishHere(topic, m, except, nil) },
		func() *Command {
			c := &Command{Verb: VerbPublish, Topic: topic, Op: m.Op(), Payload: m.Payload()}
			if srv.cluster != nil && except != nil && except.srv() != srv { // else no other node has it
				c.Except = except.fullID()
			}
			return c
		})
}

// Broadcast sends a message to every session that has a user, as Push does.
func (srv *Server) Broadcast(ctx context.Context, m *Message) (Delivery, error) {
	if m.options != nil {
		return srv.deliverNarrowed(ctx, Audience{Everyone: true}, m)
	}
	return srv.deliver(ctx, Target{}, m, func() int { return srv.broadcastHere(m, nil) },
		func() *Command { return &Command{Verb: VerbBroadcast, Op: m.Op(), Payload: m.Payload()} })
}

// PushMany sends a message to the sessions of several users and the subscribers of
// several topics. A session matched more than once receives the message once: as a
// message for its user, whose policy for a full queue is the stricter one.
func (srv *Server) PushMany(ctx context.Context, users, topics []string, m *Message) (Delivery, error) {
	if m.options != nil {
		return srv.deliverNarrowed(ctx, Audience{Users: users, Topics: topics}, m)
	}
	return srv.deliver(ctx, Target{}, m, func() int { return srv.pushManyHere(users, topics, m, nil) },
		func() *Command {
			return &Command{Verb: VerbPushMany, Users: users, Topics: topics, Op: m.Op(), Payload: m.Payload()}
		})
}

// Deliver sends a message to an audience, on all nodes of the cluster, as Push does. Nodes
// of an older version, which know neither exclusions nor labels, send nothing and are reported missing.
func (srv *Server) Deliver(ctx context.Context, to Audience, m *Message) (Delivery, error) {
	if err := to.Check(); err != nil {
		return Delivery{}, err
	}
	if !audience.Narrowed(&to) && m.options == nil {
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

// deliverNarrowed is Deliver for an audience that leaves out sessions, or for a message with
// options. Its own copy of the audience moves to the heap.
func (srv *Server) deliverNarrowed(ctx context.Context, to Audience, m *Message) (Delivery, error) {
	return srv.deliver(ctx, audience.TargetOf(&to), m, func() int { return srv.deliverHere(&to, m) },
		func() *Command { return m.into(&Command{Verb: VerbDeliver, Audience: to}) })
}

// deliver sends a message to the sessions of this process, of the other one during a handover,
// and of the other nodes: here does so in this process, which is all that functions with names
// in Here concern, and command returns what the others execute. A node that is alone makes
// no Command.
func (srv *Server) deliver(ctx context.Context, t Target, m *Message, here func() int, command func() *Command) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	if srv.cluster == nil {
		return Delivery{Receivers: srv.together(here, command)}, nil
	}
	n, answer, err := srv.nodes.Do(ctx, t, command(), func() int { return srv.together(here, command) })
	return Delivery{Receivers: n, Coverage: answer.Coverage}, err
}

// fits returns an error if a message is too long to be pushed.
func (srv *Server) fits(m *Message) error {
	if m.Len() > srv.cfg.MaxPayload {
		return fmt.Errorf("%w: %d bytes, Config.MaxPayload is %d", ErrTooBig, m.Len(), srv.cfg.MaxPayload)
	}
	return nil
}

// lists holds slices of receivers.
var lists = sync.Pool{New: func() any { l := make([]*Session, 0, 256); return &l }}

const listKeep = 1 << 16

func putList(l *[]*Session) {
	clear(*l)
	if cap(*l) <= listKeep {
		*l = (*l)[:0]
		lists.Put(l)
	}
}

// appendTarget appends the sessions of this process that belong to a user, or subscribe to a
// topic.
func (srv *Server) appendTarget(list []*Session, t Target) []*Session {
	if t.User != "" {
		return srv.users.AppendUser(list, t.User)
	}
	return srv.users.AppendTopic(list, t.Topic)
}

func (srv *Server) pushHere(user string, m *Message, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = keepSelected(sel, srv.users.AppendUser(*l, user))
	n := deliverAll(*l, m, srv.userPolicy())
	srv.stats.Pushed.Add(int64(n))
	srv.observePush(stats.ToUser, began, n)
	return n
}

func (srv *Server) publishHere(topic string, m *Message, except *Session, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = keepSelected(sel, srv.users.AppendTopic(*l, topic))
	if except != nil {
		*l = without(*l, except)
	}
	n := deliverMany(*l, m, srv.topicPolicy())
	srv.stats.Published.Add(int64(n))
	srv.observePush(stats.ToTopic, began, n)
	return n
}

// without removes s from a list whose order does not matter.
func without(list []*Session, s *Session) []*Session {
	for i := range list {
		if list[i] == s {
			last := len(list) - 1
			list[i], list[last] = list[last], nil
			return list[:last]
		}
	}
	return list
}

// broadcastHere walks the engine's connections, not the registry: see
// netpoll.Engine.EachOf.
func (srv *Server) broadcastHere(m *Message, sel *audience.Selection) int {
	began, policy := srv.now(), srv.topicPolicy()
	n := fanout.Sum(srv.engine.Portions(), srv.Count(), func(i int) int {
		n := 0
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if h, ok := h.(handler); ok && h.s.listed() && selected(sel, h.s) && h.s.deliver(m, policy) == nil {
				n++
			}
		})
		return n
	})
	srv.stats.Broadcast.Add(int64(n))
	srv.observePush(stats.ToAll, began, n)
	return n
}

func (srv *Server) pushManyHere(users, topics []string, m *Message, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	all := *l
	for _, user := range users {
		all = srv.users.AppendUser(all, user)
	}
	seen := make(map[*Session]struct{}, len(all))
	all = keepSelected(sel, unseen(all, seen))
	split := len(all)
	for _, topic := range topics {
		from := len(all)
		all = srv.users.AppendTopic(all, topic)
		all = all[:from+len(keepSelected(sel, unseen(all[from:], seen)))]
	}
	*l = all
	pushed := deliverMany(all[:split], m, srv.userPolicy())
	published := deliverMany(all[split:], m, srv.topicPolicy())
	srv.stats.Pushed.Add(int64(pushed))
	srv.stats.Published.Add(int64(published))
	srv.observePush(stats.ToSeveral, began, pushed+published)
	return pushed + published
}

// unseen removes from a list, in place, the sessions that are in seen, and adds the others
// to seen.
func unseen(list []*Session, seen map[*Session]struct{}) []*Session {
	return slices.DeleteFunc(list, func(s *Session) bool { // which clears the rest, for the pool
		_, was := seen[s]
		seen[s] = struct{}{}
		return was
	})
}

// countAll calls f for all connections, in parallel, and returns for how many it is true.
func (srv *Server) countAll(f func(netpoll.Handler) bool) int {
	return fanout.Sum(srv.engine.Portions(), srv.Count(), func(i int) (n int) {
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if f(h) {
				n++
			}
		})
		return n
	})
}

// deliverMany is deliverAll in portions, in parallel if there are enough receivers.
func deliverMany(to []*Session, m *Message, policy netpoll.Policy) int {
	return fanout.Sum(fanout.Parts(len(to)), len(to), func(i int) int {
		return deliverAll(fanout.Part(to, i), m, policy)
	})
}

func deliverAll(to []*Session, m *Message, policy netpoll.Policy) int {
	return fanout.Count(to, func(s *Session) bool { return s.deliver(m, policy) == nil })
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
	return slices.DeleteFunc(list, func(s *Session) bool { return !selected(sel, s) })
}

// deliverHere sends a message to the selected sessions of this process.
func (srv *Server) deliverHere(to *Audience, m *Message) int {
	sel := srv.selectionOf(to)
	srv.openReceipt(m, 0)
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

// observePush notes that a push, which this node accepted at began, is now written or queued to
// n sessions of this node. It takes the same time for any number of receivers. Pushes
// without a local receiver are not counted: they would hide the others.
func (srv *Server) observePush(k stats.Kind, began time.Duration, n int) {
	if n > 0 {
		srv.stats.Latency[k].Add(srv.now() - began)
	}
}
