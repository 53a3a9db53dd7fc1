package server

import (
	"time"

	"fanfare/registry"
	"fanfare/server/node"
	"fanfare/server/store"
)

// These functions concern the sessions of this process and, during a handover, those of the
// other one. The functions with names in Here concern this process alone.

func (srv *Server) pushLocal(user string, m *Message) int {
	return srv.together(func() int { return srv.pushHere(user, m, nil) },
		func() *Command { return &Command{Verb: VerbPush, User: user, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) publishLocal(topic string, m *Message, except *Session) int {
	return srv.together(func() int { return srv.publishHere(topic, m, except, nil) }, func() *Command {
		return &Command{Verb: VerbPublish, Topic: topic, Op: m.Op(), Payload: m.Payload()}
	})
}

func (srv *Server) broadcastLocal(m *Message) int {
	return srv.together(func() int { return srv.broadcastHere(m, nil) },
		func() *Command { return &Command{Verb: VerbBroadcast, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) pushManyLocal(users, topics []string, m *Message) int {
	return srv.together(func() int { return srv.pushManyHere(users, topics, m, nil) }, func() *Command {
		return &Command{Verb: VerbPushMany, Users: users, Topics: topics, Op: m.Op(), Payload: m.Payload()}
	})
}

func (srv *Server) deliverLocal(to *Audience, m *Message) int {
	return srv.together(func() int { return srv.deliverHere(to, m) },
		func() *Command { return &Command{Verb: VerbDeliver, Audience: *to, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) announce(box store.Box, epoch string, offset, prev uint64, m *Message, began time.Duration) int {
	return srv.together(func() int { return srv.announceHere(box, epoch, offset, prev, m, began) }, func() *Command {
		c := &Command{Verb: VerbStored, User: box.User, Topic: box.Topic, Epoch: epoch, Offset: offset, Prev: prev}
		if m != nil {
			c.Op, c.Payload = m.Op(), m.Payload()
		}
		return c
	})
}

func (srv *Server) disconnectLocal(user string, code Code, reason string) int {
	return srv.together(func() int { return srv.disconnectHere(user, code, reason) },
		func() *Command { return &Command{Verb: VerbClose, User: user, Code: code, Reason: reason} })
}

func (srv *Server) subscribersLocal(topic string) int {
	return srv.together(func() int { return srv.users.TopicSessions(topic) },
		func() *Command { return &Command{Verb: VerbSubscribers, Topic: topic} })
}

func (srv *Server) sessionsLocal(t Target) (all []SessionInfo) {
	_, l, ch := srv.besides(func() int {
		all = srv.sessionsHere(t)
		return 0
	}, func() *Command { return &Command{Verb: VerbSessions, User: t.User, Topic: t.Topic} })
	if r, ok := l.reply(ch); ok {
		all = append(all, r.Reply.Sessions...)
	}
	return all
}

func (srv *Server) subscribeLocal(user, topic string) (n int, err error) {
	n, l, ch := srv.besides(func() (n int) {
		n, err = srv.subscribeHere(user, topic)
		return n
	}, func() *Command { return &Command{Verb: VerbSubscribe, User: user, Topic: topic} })
	if r, ok := l.reply(ch); ok {
		n += r.Reply.Count
		if r.Reply.Error == node.TooManyTopics {
			err = registry.ErrTooManyTopics
		}
	}
	return n, err
}

func (srv *Server) unsubscribeLocal(user, topic string) int {
	return srv.together(func() int { return srv.unsubscribeHere(user, topic) },
		func() *Command { return &Command{Verb: VerbUnsubscribe, User: user, Topic: topic} })
}
