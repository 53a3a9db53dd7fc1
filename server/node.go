package server

import (
	"errors"
	"slices"
	"strings"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/store"
)

// node is the server as the other nodes of its cluster see it.
type node struct{ srv *Server }

// Missed makes all sessions look for stored messages that other nodes could not
// announce.
func (n node) Missed() {
	if n.srv.replay != nil {
		n.srv.replay.Recheck()
	}
}

// Serve does what another node asks for. It waits for nothing but the walk of a
// broadcast. The command is checked again although package cluster has done so:
// what is sent to clients must be right whoever implements Cluster.
func (n node) Serve(c *Command) (r Reply) {
	srv := n.srv
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("command of another node", v)
			r = Reply{Error: "internal error"}
		}
	}()
	if err := c.check(); err != nil {
		return Reply{Error: err.Error()}
	}
	switch c.Verb {
	case VerbPush:
		r.Count = srv.pushLocal(c.User, NewMessage(c.Op, c.Payload))
	case VerbPublish:
		r.Count = srv.publishLocal(c.Topic, NewMessage(c.Op, c.Payload), srv.subscriber(c.Topic, c.Except))
	case VerbBroadcast:
		r.Count = srv.broadcastLocal(NewMessage(c.Op, c.Payload))
	case VerbPushMany:
		r.Count = srv.pushManyLocal(c.Users, c.Topics, NewMessage(c.Op, c.Payload))
	case VerbStored:
		if srv.replay == nil {
			return Reply{Error: "this node has no store"}
		}
		box := store.Box{User: c.User, Topic: c.Topic}
		var m *Message
		if c.Op != 0 {
			m = NewMessage(c.Op, c.Payload)
			m.setPosition(box, srv.store.Epoch(box), c.Offset)
		}
		r.Count = srv.announce(box, c.Offset, c.Prev, m)
	case VerbClose:
		r.Count = srv.disconnectLocal(c.User, c.Code, c.Reason)
	case VerbSessions:
		r.Sessions = srv.sessionsLocal(Target{c.User, c.Topic})
		r.Count = len(r.Sessions)
	case VerbSubscribers:
		r.Count = srv.users.TopicSessions(c.Topic)
	case VerbSubscribe:
		var err error
		if r.Count, err = srv.subscribeLocal(c.User, c.Topic); err != nil {
			r.Error = errTooManyTopics
		}
	case VerbUnsubscribe:
		r.Count = srv.unsubscribeLocal(c.User, c.Topic)
	default:
		r.Error = "unknown command"
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

// errTooManyTopics is Reply.Error for registry.ErrTooManyTopics.
const errTooManyTopics = "too many topics"

var errCommand = errors.New("server: malformed command of another node")

// check validates what a command makes a server send or look up.
func (c *Command) check() error {
	for _, name := range slices.Concat(c.Users, c.Topics) {
		if registry.CheckName(name) != nil {
			return errCommand
		}
	}
	if c.User != "" && registry.CheckName(c.User) != nil || c.Topic != "" && registry.CheckName(c.Topic) != nil {
		return errCommand
	}
	switch c.Verb {
	case VerbPush, VerbPublish, VerbBroadcast, VerbPushMany:
		if c.Op != Text && c.Op != Binary {
			return errCommand
		}
	case VerbStored:
		if c.Op != 0 && c.Op != Text && c.Op != Binary || (c.User == "") == (c.Topic == "") {
			return errCommand
		}
	case VerbClose:
		if !frame.CloseCodeAllowed(c.Code) || len(c.Reason) > MaxCloseReason {
			return errCommand
		}
	}
	return nil
}
