package server

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/operate"
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

// The rest of this file has what this process does for a command, on its own sessions.

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

// process is the server as package allnodes sees it.
type process struct{ srv *Server }

func (p *process) Execute(c *Command) Reply { return p.srv.dispatch(c) }
func (p *process) Both(here func() Reply, command func() *Command) Reply {
	return p.srv.inBoth(here, command)
}
func (p *process) Wall() time.Time              { return p.srv.wall() }
func (p *process) Panicked(where string, v any) { p.srv.panicked(where, v) }

// concernsSessions reports whether a command waits for sessions that are moving to another
// process. The others concern what an identity may do, and broadcasts that take long anyway.
func (srv *Server) concernsSessions(v Verb) bool {
	switch v {
	case VerbRefresh, VerbRevoke, VerbUnrevoke, VerbPaced, VerbPacedList, VerbPacedCancel, VerbDescribe, VerbReceipt:
		return false
	}
	return true
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
		if b, err = srv.startPacedHere(c, ofCommand(c)); err == nil {
			r.Paced = []PacedBroadcast{b}
		}
	case VerbPacedList, VerbPacedCancel:
		r.Paced = srv.paced.Broadcasts(c.ID, c.Verb == VerbPacedCancel)
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
func (srv *Server) presenceHere(users []string) (online []UserSessions) {
	var list []*Session
	for _, user := range users {
		list = srv.users.AppendUser(list[:0], user)
		if n := countOpen(list); n > 0 {
			online = append(online, UserSessions{User: user, Sessions: n})
		}
	}
	slices.SortFunc(online, func(a, b UserSessions) int { return strings.Compare(a.User, b.User) })
	return slices.Compact(online) // a user may have been named twice
}

func countOpen(list []*Session) (n int) {
	for _, s := range list {
		if s.phase() == open {
			n++
		}
	}
	return n
}

func (srv *Server) topicUsersHere(topic, after string, limit int) []UserSessions {
	counts := make(map[string]int)
	for _, s := range srv.users.AppendTopic(nil, topic) {
		if user := s.User(); user > after && s.phase() == open {
			counts[user]++
		}
	}
	return node.PageOf(counts, after, limit)
}

func (srv *Server) describe() node.Description {
	return node.Description{State: srv.Status().String(), Version: srv.cfg.Version, Since: srv.started.UTC()}
}
func (srv *Server) sessionsHere(t Target) []SessionInfo {
	all := []SessionInfo{}
	for _, s := range srv.appendTarget(nil, t) {
		if s.phase() == open {
			all = append(all, s.info())
		}
	}
	return all
}

// operateHere executes VerbInquire and VerbOperate in this process.
func (srv *Server) operateHere(c *Command) ([]byte, error) {
	q, err := operate.Parse(c.Payload)
	if err != nil {
		return nil, err
	}
	if q.Kind.Changes() != (c.Verb == VerbOperate) {
		return nil, fmt.Errorf("verb %d does not carry the question %q", c.Verb, q.Kind)
	}
	a, err := srv.answerTo(q)
	if err != nil {
		return nil, err
	}
	return a.Encode()
}

// answerTo answers a question for the sessions of this process.
func (srv *Server) answerTo(q *operate.Question) (a operate.Answer, err error) {
	switch q.Kind {
	case operate.Users:
		a.Users = namesHere(srv.users.AppendUsersAfter, q, func(user string) int { return countOpen(srv.users.AppendUser(nil, user)) })
	case operate.Topics:
		a.Users = namesHere(srv.users.AppendTopicsAfter, q, srv.users.TopicSessions)
	case operate.Sessions:
		a.Sessions = q.Keep(srv.detailsHere(q.User))
	case operate.CloseSession:
		if s := srv.sessionOf(q.ID); s != nil && s.phase() == open && s.Close(q.Code, q.Reason) {
			a.Count = 1
		}
	case operate.Close:
		a.Closes, err = srv.startCloseHere(q)
	case operate.Closes, operate.CancelClose:
		a.Closes = srv.paced.Closes(q.ID, q.Kind == operate.CancelClose)
	case operate.Trace:
		if a.Trace, err = srv.traces.Poll(q.ID, q.User, q.Payload, q.Seen, srv.now()); err == nil {
			a.Trace.Node = srv.nodeName()
		}
	case operate.EndTrace:
		srv.traces.End(q.ID)
	}
	return a, err
}

// namesHere returns a page of names, each with its number of sessions. Names without any are
// those of sessions that have not opened, or have begun to close.
func namesHere(page func(dst []string, after, prefix string, n int) []string, q *operate.Question, count func(string) int) (out []UserSessions) {
	for after := q.After; len(out) < q.Limit; {
		want := q.Limit - len(out)
		names := page(nil, after, q.Prefix, want)
		for _, name := range names {
			if n := count(name); n > 0 {
				out = append(out, UserSessions{User: name, Sessions: n})
			}
		}
		if len(names) < want {
			break
		}
		after = names[len(names)-1]
	}
	return out
}

func (srv *Server) detailsHere(user string) (all []SessionDetails) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.phase() == open {
			all = append(all, SessionDetails{SessionInfo: s.info(), Dialect: s.dialectName()})
		}
	}
	return all
}

// sessionOf returns the session of this process that has the ID of a SessionInfo; nil: none.
func (srv *Server) sessionOf(id string) (found *Session) {
	name, number, err := node.CutSessionID(id)
	if err != nil || name != srv.nodeName() {
		return nil
	}
	for i := range srv.engine.Portions() {
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if h, ok := h.(handler); ok && h.s.ID() == number {
				found = h.s
			}
		})
		if found != nil {
			break
		}
	}
	return found
}

// nodeName returns the name of this node, empty without a cluster.
func (srv *Server) nodeName() string {
	if srv.cluster == nil {
		return ""
	}
	return srv.cluster.Name()
}
