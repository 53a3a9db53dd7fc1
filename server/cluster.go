package server

import (
	"context"
	"fmt"
	"strings"

	"fanfare/server/node"
	"fanfare/server/store"
)

// The contract with the other nodes of a cluster is in package node.
type (
	// Cluster connects this process to the other nodes of a cluster.
	Cluster = node.Cluster
	// Node is what a Cluster serves: the server of this process.
	Node = node.Node
	// Target names whose sessions a command concerns.
	Target = node.Target
	// Verb says what a Command asks for.
	Verb = node.Verb
	// Command is what one node asks of others.
	Command = node.Command
	// Reply is what one node answers to a command.
	Reply = node.Reply
	// Answer is what the other nodes answered together.
	Answer = node.Answer
	// SessionInfo describes one session.
	SessionInfo = node.SessionInfo
	// Coverage says whether the other nodes of a cluster took part.
	Coverage = node.Coverage
)

// The verbs, with the fields of Command they use.
const (
	VerbPush        = node.VerbPush        // User, Op, Payload
	VerbPublish     = node.VerbPublish     // Topic, Op, Payload, Except
	VerbBroadcast   = node.VerbBroadcast   // Op, Payload
	VerbPushMany    = node.VerbPushMany    // Users, Topics, Op, Payload
	VerbStored      = node.VerbStored      // User or Topic, Epoch, Offset, Prev; Op and Payload unless Op is 0
	VerbClose       = node.VerbClose       // User, Code, Reason
	VerbSessions    = node.VerbSessions    // User or Topic; Reply.Sessions
	VerbSubscribers = node.VerbSubscribers // Topic
	VerbSubscribe   = node.VerbSubscribe   // User, Topic
	VerbUnsubscribe = node.VerbUnsubscribe // User, Topic
	VerbRefresh     = node.VerbRefresh     // User; Op is Text, Payload an IdentityChange in JSON
	VerbRevoke      = node.VerbRevoke      // Op is Text, Payload what revoke.Entry.Encode returns
	VerbUnrevoke    = node.VerbUnrevoke    // Op is Text, Payload the ID of an entry
	VerbDeliver     = node.VerbDeliver     // Audience, Op, Payload, Conflate, Interval, Receipt
	VerbPaced       = node.VerbPaced       // Audience, ID, Key, Over, Op, Payload, Conflate, Interval, Receipt; Reply.Paced
	VerbPacedList   = node.VerbPacedList   // ID, empty: all; Reply.Paced
	VerbPacedCancel = node.VerbPacedCancel // ID; Reply.Paced
	VerbPresence    = node.VerbPresence    // Users; Reply.Users
	VerbTopicUsers  = node.VerbTopicUsers  // Topic, After, Limit; Reply.Users
	VerbDescribe    = node.VerbDescribe    // Reply.About
	VerbReceipt     = node.VerbReceipt     // ID; Reply.Receipt
	VerbMembers     = node.VerbMembers     // Topic; Op is Text, Payload a presence message in JSON
	VerbInquire     = node.VerbInquire     // Op is Text, Payload an operate.Question in JSON that changes nothing; Reply.Data
	VerbOperate     = node.VerbOperate     // likewise, but it does change something
)

// MaxMissingNodes bounds Coverage.MissingNodes.
const MaxMissingNodes = node.MaxMissingNodes

// Errors that a Cluster returns, wrapped with details.
var (
	// ErrUnreachable: the connection to the other nodes is down, or its queue is full
	// and the command was dropped.
	ErrUnreachable = node.ErrUnreachable
	// ErrInvalidCommand: a field has a value that its verb does not allow, such as
	// text that is not UTF-8.
	ErrInvalidCommand = node.ErrInvalidCommand
)

// onAllNodes does something on this node, and has the other nodes that hold the
// target do it at the same time. It returns the sum of the counts. An error says
// that nothing was done anywhere.
func (srv *Server) onAllNodes(ctx context.Context, t Target, c *Command, local func() int) (int, Answer, error) {
	cl := srv.cluster
	if cl == nil {
		return local(), Answer{}, nil
	}
	if err := cl.Check(c); err != nil {
		return 0, Answer{}, err
	}
	if !cl.Shared(t) {
		// Nodes that this one has not heard of yet get the command all the same;
		// none answers.
		answer := srv.ask(ctx, t, c)
		n := local()
		return n + node.Count(answer), answer, nil
	}
	there := make(chan Answer, 1)
	go func() { there <- srv.ask(ctx, t, c) }()
	n := local()
	answer := <-there
	return n + node.Count(answer), answer, nil
}

// ask is Cluster.Ask for a command that Check accepts. After a panic, in the evaluation of
// the answer, the other nodes count as unreachable.
func (srv *Server) ask(ctx context.Context, t Target, c *Command) (answer Answer) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("answer of the cluster", v)
			answer = Answer{}
			answer.Unreachable = fmt.Errorf("%w: panic in the answer of the cluster: %v", ErrUnreachable, v)
		}
	}()
	answer, err := srv.cluster.Ask(ctx, t, c)
	answer.Unreachable = err
	for _, r := range answer.Replies {
		if r.Error != "" && r.Error != node.TooManyTopics {
			answer.Missing++
			if r.Node != "" {
				answer.MissingNodes = append(answer.MissingNodes, r.Node)
			}
		}
	}
	answer.Coverage = node.Tidy(answer.Coverage)
	return answer
}

func (srv *Server) holdUser(user string) {
	if cl := srv.cluster; cl != nil && user != "" {
		cl.Hold(Target{User: user})
	}
}

func (srv *Server) releaseUser(user string) {
	if cl := srv.cluster; cl != nil && user != "" {
		cl.Release(Target{User: user})
	}
}

// holdTopic is called after a session has subscribed.
func (srv *Server) holdTopic(topic string) {
	if srv.interest != nil {
		srv.interest.Hold(topic)
	}
}

// member is the server as the other nodes of its cluster see it.
type member struct{ srv *Server }

// Missed makes all sessions look for stored messages that other nodes could not
// announce.
func (n member) Missed() {
	if n.srv.replay != nil {
		n.srv.recheckStored()
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
	case VerbRefresh, VerbRevoke, VerbUnrevoke, VerbPaced, VerbPacedList, VerbPacedCancel, VerbDescribe, VerbReceipt:
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
		r.Count = srv.deliverHere(&c.Audience, ofCommand(c))
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
		if b, err = srv.startPacedLocal(c, ofCommand(c)); err == nil {
			r.Paced = []PacedBroadcast{b}
		}
	case VerbPacedList, VerbPacedCancel:
		r.Paced = srv.pacedLocal(c)
	case VerbPresence:
		r.Users = srv.presenceHere(c.Users)
	case VerbTopicUsers:
		r.Users = srv.topicUsersHere(c.Topic, c.After, c.Limit)
	case VerbDescribe:
		r.Count, r.About = int(srv.sessions.Load()), srv.describe()
	case VerbMembers:
		r.Count = srv.membersHere(c.Topic, c.Payload)
	case VerbReceipt:
		r.Receipt = srv.receiptHere(c.ID)
	case VerbInquire, VerbOperate:
		var answer []byte
		if answer, err = srv.operateHere(c); err == nil {
			r.Data = [][]byte{answer}
		}
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
