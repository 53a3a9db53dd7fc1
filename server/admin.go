package server

import (
	"context"
	"errors"
	"slices"

	"fanfare/registry"
)

// Disconnect closes all sessions of a user, on all nodes, and returns their number.
func (srv *Server) Disconnect(ctx context.Context, user string, code Code, reason string) (Delivery, error) {
	c := &Command{Verb: VerbClose, User: user, Code: code, Reason: reason}
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, c, func() int { return srv.disconnectLocal(user, code, reason) })
	return Delivery{n, answer.Coverage}, err
}

func (srv *Server) disconnectLocal(user string, code Code, reason string) (n int) {
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
	_, answer, err := srv.onAllNodes(ctx, t, &Command{Verb: VerbSessions, User: t.User, Topic: t.Topic}, func() int {
		local = srv.sessionsLocal(t)
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

func (srv *Server) sessionsLocal(t Target) []SessionInfo {
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
	n, answer, err := srv.onAllNodes(ctx, Target{Topic: topic}, &Command{Verb: VerbSubscribers, Topic: topic},
		func() int { return srv.users.TopicSessions(topic) })
	return Delivery{n, answer.Coverage}, err
}

// SubscribeUser subscribes the sessions that a user has now, on all nodes, to a
// topic, and returns how many do. Sessions that are opened later do not. The error
// is registry.ErrTooManyTopics if a session has no room for one more.
func (srv *Server) SubscribeUser(ctx context.Context, user, topic string) (Delivery, error) {
	var failed error
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, &Command{Verb: VerbSubscribe, User: user, Topic: topic}, func() (n int) {
		n, failed = srv.subscribeLocal(user, topic)
		return n
	})
	for _, r := range answer.Replies {
		if r.Error == errTooManyTopics {
			failed = registry.ErrTooManyTopics
		}
	}
	return Delivery{n, answer.Coverage}, errors.Join(err, failed)
}

func (srv *Server) subscribeLocal(user, topic string) (n int, err error) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if e := s.Subscribe(topic); e != nil {
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
	n, answer, err := srv.onAllNodes(ctx, Target{User: user}, &Command{Verb: VerbUnsubscribe, User: user, Topic: topic},
		func() int { return srv.unsubscribeLocal(user, topic) })
	return Delivery{n, answer.Coverage}, err
}

func (srv *Server) unsubscribeLocal(user, topic string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Unsubscribe(topic) {
			n++
		}
	}
	return n
}
