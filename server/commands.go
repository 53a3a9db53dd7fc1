package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"fanfare/registry"
	"fanfare/server/node"
	"fanfare/server/store"
)

// This file has what is done on all nodes: the methods of Server send a Command to the
// other nodes and do the same on this one, and member.Serve executes the commands of others.

// Disconnect closes all sessions of a user, on all nodes, and returns their number.
func (srv *Server) Disconnect(ctx context.Context, user string, code Code, reason string) (Delivery, error) {
	c := &Command{Verb: VerbClose, User: user, Code: code, Reason: reason}
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, c, func() int { return srv.locally(c).Count })
	return Delivery{n, answer.Coverage}, err
}

func (srv *Server) disconnectHere(user string, code Code, reason string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Close(code, reason) {
			n++
		}
	}
	return n
}

// SessionList describes the sessions of a user or a topic.
type SessionList struct {
	// Sessions in the order in which they were opened.
	Sessions []SessionInfo
	// Coverage says whether the list is complete.
	Coverage
}

// Sessions lists the sessions of a user, on all nodes.
func (srv *Server) Sessions(ctx context.Context, user string) SessionList {
	return srv.sessionsOnAllNodes(ctx, Target{User: user})
}

// TopicSessions lists the sessions that subscribe to a topic, on all nodes.
func (srv *Server) TopicSessions(ctx context.Context, topic string) SessionList {
	return srv.sessionsOnAllNodes(ctx, Target{Topic: topic})
}

func (srv *Server) sessionsOnAllNodes(ctx context.Context, t Target) (l SessionList) {
	var local []SessionInfo
	c := &Command{Verb: VerbSessions, User: t.User, Topic: t.Topic}
	_, answer, err := srv.onAllNodes(ctx, t, c, func() int {
		local = srv.locally(c).Sessions
		return len(local)
	})
	l.Sessions, l.Coverage = local, answer.Coverage
	if err != nil {
		l.Unreachable = err
	}
	for _, r := range answer.Replies {
		l.Sessions = append(l.Sessions, r.Sessions...)
	}
	if l.Unreachable == nil && srv.cluster != nil {
		l.Unreachable = srv.cluster.Ready()
	}
	slices.SortFunc(l.Sessions, func(x, y SessionInfo) int { return x.Opened.Compare(y.Opened) })
	return l
}

func (srv *Server) sessionsHere(t Target) []SessionInfo {
	all := []SessionInfo{}
	list := srv.users.AppendUser(nil, t.User)
	if t.User == "" {
		list = srv.users.AppendTopic(nil, t.Topic)
	}
	for _, s := range list {
		if s.phase() == open {
			all = append(all, s.info())
		}
	}
	return all
}

// Subscribers returns the number of sessions that subscribe to a topic, on all
// nodes.
func (srv *Server) Subscribers(ctx context.Context, topic string) (Delivery, error) {
	c := &Command{Verb: VerbSubscribers, Topic: topic}
	n, answer, err := srv.onAllNodes(ctx, Target{Topic: topic}, c,
		func() int { return srv.locally(c).Count })
	return Delivery{n, answer.Coverage}, err
}

// SubscribeUser subscribes the sessions that a user has now, on all nodes, to a
// topic, and returns how many do. Sessions that are opened later do not. The error
// is registry.ErrTooManyTopics if a session has no room for one more.
func (srv *Server) SubscribeUser(ctx context.Context, user, topic string) (Delivery, error) {
	var failed error
	c := &Command{Verb: VerbSubscribe, User: user, Topic: topic}
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, c, func() int {
		r := srv.locally(c)
		if r.Error == node.TooManyTopics {
			failed = registry.ErrTooManyTopics
		}
		return r.Count
	})
	for _, r := range answer.Replies {
		if r.Error == node.TooManyTopics {
			failed = registry.ErrTooManyTopics
		}
	}
	return Delivery{n, answer.Coverage}, errors.Join(err, failed)
}

func (srv *Server) subscribeHere(user, topic string) (n int, err error) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if _, e := s.subscribe(topic, nil, true); e != nil {
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
	c := &Command{Verb: VerbUnsubscribe, User: user, Topic: topic}
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, c, func() int { return srv.locally(c).Count })
	return Delivery{n, answer.Coverage}, err
}

func (srv *Server) unsubscribeHere(user, topic string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Unsubscribe(topic) {
			n++
		}
	}
	return n
}

// member is the server as the other nodes of its cluster see it.
type member struct{ srv *Server }

// Missed makes all sessions look for stored messages that other nodes could not
// announce.
func (n member) Missed() {
	if n.srv.replay != nil {
		n.srv.replay.Recheck()
	}
}

// Serve executes a command of another node. It waits for nothing except the walk of
// a broadcast over all sessions, and sessions that move to another process.
func (m member) Serve(c *Command) Reply {
	srv := m.srv
	if srv.concernsSessions(c.Verb) {
		srv.moving.RLock()
		defer srv.moving.RUnlock()
	}
	return srv.execute("command of another node", c)
}

// concernsSessions reports whether a command waits for sessions that are moving to another
// process. The others concern what an identity may do, and broadcasts that take long anyway.
func (srv *Server) concernsSessions(v Verb) bool {
	switch v {
	case VerbRefresh, VerbRevoke, VerbUnrevoke, VerbPaced, VerbPacedList, VerbPacedCancel:
		return false
	}
	return true
}

// locally executes a command on the sessions of this process and, during a handover, on those
// of the other one. The command is one of this process, and was checked.
func (srv *Server) locally(c *Command) Reply {
	return srv.inBoth(func() Reply { return srv.dispatch(c) }, func() *Command { return c })
}

// execute executes a command of another process on the sessions of this one. The command is
// checked again although the other process has done so: what is sent to clients must be right
// whatever has sent the command. where says what that is, for the log.
func (srv *Server) execute(where string, c *Command) (r Reply) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked(where, v)
			r = Reply{Error: "internal error"}
		}
	}()
	if err := node.Check(c, srv.cfg.MaxPayload, srv.Durable); err != nil {
		return Reply{Error: err.Error()}
	}
	return srv.dispatch(c)
}

// dispatch does what the verb of a command asks for, on the sessions of this process.
func (srv *Server) dispatch(c *Command) (r Reply) {
	var err error
	switch c.Verb {
	case VerbPush:
		r.Count = srv.pushHere(c.User, NewMessage(c.Op, c.Payload), nil)
	case VerbPublish:
		r.Count = srv.publishHere(c.Topic, NewMessage(c.Op, c.Payload), srv.subscriber(c.Topic, c.Except), nil)
	case VerbBroadcast:
		r.Count = srv.broadcastHere(NewMessage(c.Op, c.Payload), nil)
	case VerbPushMany:
		r.Count = srv.pushManyHere(c.Users, c.Topics, NewMessage(c.Op, c.Payload), nil)
	case VerbDeliver:
		r.Count = srv.deliverHere(&c.Audience, NewMessage(c.Op, c.Payload))
	case VerbStored:
		if srv.replay == nil {
			return Reply{Error: "this node has no store"}
		}
		box, m := srv.storedMessage(c)
		r.Count = srv.announceHere(box, c.Epoch, c.Offset, c.Prev, m, srv.now())
	case VerbClose:
		r.Count = srv.disconnectHere(c.User, c.Code, c.Reason)
	case VerbSessions:
		r.Sessions = srv.sessionsHere(Target{User: c.User, Topic: c.Topic})
		r.Count = len(r.Sessions)
	case VerbSubscribers:
		r.Count = srv.users.TopicSessions(c.Topic)
	case VerbSubscribe:
		if r.Count, err = srv.subscribeHere(c.User, c.Topic); err != nil {
			r.Error = node.TooManyTopics
		}
	case VerbUnsubscribe:
		r.Count = srv.unsubscribeHere(c.User, c.Topic)
	case VerbRefresh:
		var change IdentityChange
		if change, err = ParseIdentityChange(c.Payload); err == nil {
			r.Count = srv.refreshLocal(c.User, &change)
		}
	case VerbRevoke, VerbUnrevoke:
		r.Count, err = srv.applyRevocation(c)
	case VerbPaced:
		var b PacedBroadcast
		if b, err = srv.startPacedLocal(c, NewMessage(c.Op, c.Payload)); err == nil {
			r.Paced = []PacedBroadcast{b}
		}
	case VerbPacedList, VerbPacedCancel:
		r.Paced = srv.pacedLocal(c)
	}
	if err != nil && r.Error == "" {
		r.Error = err.Error()
	}
	return r
}

// subscriber returns the session of this node that has the ID of a SessionInfo, nil if it
// has none or does not subscribe to the topic.
func (srv *Server) subscriber(topic, id string) *Session {
	if id == "" || srv.cluster == nil || !strings.HasPrefix(id, srv.cluster.Name()+"/") {
		return nil
	}
	for _, s := range srv.users.AppendTopic(nil, topic) {
		if s.fullID() == id {
			return s
		}
	}
	return nil
}

// storedMessage returns where a VerbStored was stored, and the message at its position. It is
// nil if sessions have to read it when the store is back, or has learned of the epoch in which
// the other process has stored it: one of the two is late.
func (srv *Server) storedMessage(c *Command) (box store.Box, m *Message) {
	box = store.Box{User: c.User, Topic: c.Topic}
	if epoch := srv.store.Epoch(box); c.Op != 0 && epoch != "" && epoch == c.Epoch {
		m = NewMessage(c.Op, c.Payload)
		m.setPosition(box, epoch, c.Offset)
	}
	return box, m
}
