package server

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server/identity"
	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/operate"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
)

// This file has what a backend or an operator asks of all nodes, and is answered with a list, and
// how sessions are closed by their IDs and over a time. Package allnodes asks; what this process
// answers is in cluster.go.

// What is answered, and what is asked for, is in package node.
type (
	// SessionList describes the sessions of a user or a topic.
	SessionList = node.SessionList
	// UserSessions is a user with the number of its sessions.
	UserSessions = node.UserSessions
	// UserList is users who have sessions, sorted.
	UserList = node.UserList
	// TopicSubscribers is a topic with the number of sessions that subscribe to it.
	TopicSubscribers = node.TopicSubscribers
	// TopicList is topics that have subscribers, sorted.
	TopicList = node.TopicList
	// PageQuery says which part of a list of names is wanted.
	PageQuery = node.PageQuery
	// SessionQuery says which sessions of a user are wanted.
	SessionQuery = node.SessionQuery
	// SessionDetails describes one session in a page.
	SessionDetails = node.SessionDetails
	// SessionPage is sessions of a user in the order in which they were opened.
	SessionPage = node.SessionPage
	// NodeInfo describes a node of a cluster.
	NodeInfo = node.NodeInfo
	// NodeList is the nodes of a cluster.
	NodeList = node.NodeList
	// CloseOrder says which sessions are closed, how fast, and what their clients are told.
	CloseOrder = node.CloseOrder
	// PacedClose describes a paced close.
	PacedClose = node.PacedClose
	// ClosingDelivery is a paced close, and whether every node has answered.
	ClosingDelivery = node.ClosingDelivery
	// CloseList is a list of paced closes, and whether every node has answered.
	CloseList = node.CloseList
	// TraceOrder says what a trace reports.
	TraceOrder = node.TraceOrder
	// TraceEvent is something that has happened to the user of a trace.
	TraceEvent = node.TraceEvent
	// TraceBatch is what has happened since the batch before, in the order of the nodes' clocks.
	TraceBatch = node.TraceBatch
)

const (
	// MaxPresence bounds the users of one call of Presence.
	MaxPresence = node.MaxPresence
	// MaxPage bounds the users of one page of TopicUsers.
	MaxPage = node.MaxPage
	// NodeMissing is the state of a node that did not answer.
	NodeMissing = node.NodeMissing
	// MaxCloseUsers bounds CloseOrder.Users.
	MaxCloseUsers = operate.MaxUsers
	// MaxCloseRate bounds CloseOrder.Rate.
	MaxCloseRate = operate.MaxRate
	// MaxTraces bounds the traces that run at a time, on all nodes together.
	MaxTraces = trace.MaxTraces
	// MaxTracePayload bounds the payload of a TraceEvent, in bytes.
	MaxTracePayload = trace.MaxPayload
)

var (
	// ErrTooManyUsers: Presence was called for more than MaxPresence users.
	ErrTooManyUsers = allnodes.ErrTooManyUsers
	// ErrPage is wrapped by errors about the fields of a PageQuery, a SessionQuery and a
	// CloseOrder.
	ErrPage = allnodes.ErrPage
	// ErrSessionID: the ID is not one of a SessionInfo.
	ErrSessionID = allnodes.ErrSessionID
	// ErrNoClose: no node has a paced close with this ID. Ended ones are forgotten
	// after a while.
	ErrNoClose = allnodes.ErrNoClose
	// ErrNoNode: no node has the name in CloseOrder.Node.
	ErrNoNode = allnodes.ErrNoNode
	// ErrManyTraces: MaxTraces traces are running.
	ErrManyTraces = allnodes.ErrManyTraces
)

// operator returns what asks questions of all nodes. A program that asks none links none.
func (srv *Server) operator() *allnodes.Operator {
	return &allnodes.Operator{Nodes: srv.nodes, Answer: srv.answerTo}
}

// Sessions lists the sessions of a user, on all nodes.
func (srv *Server) Sessions(ctx context.Context, user string) SessionList {
	return srv.nodes.Sessions(ctx, Target{User: user}, Target{User: user})
}

// TopicSessions lists the sessions that subscribe to a topic, on all nodes.
func (srv *Server) TopicSessions(ctx context.Context, topic string) SessionList {
	return srv.nodes.Sessions(ctx, Target{Topic: topic}, Target{Topic: topic})
}

// TopicSessionsEverywhere is TopicSessions with a question to every node: it lists those of a node
// of which this one has not heard yet that it holds the topic, too.
func (srv *Server) TopicSessionsEverywhere(ctx context.Context, topic string) SessionList {
	return srv.nodes.Sessions(ctx, Target{}, Target{Topic: topic})
}

// Subscribers returns the number of sessions that subscribe to a topic, on all
// nodes.
func (srv *Server) Subscribers(ctx context.Context, topic string) (Delivery, error) {
	return srv.nodes.Count(ctx, Target{Topic: topic}, &Command{Verb: VerbSubscribers, Topic: topic})
}

// SubscribersEverywhere is Subscribers with a question to every node.
func (srv *Server) SubscribersEverywhere(ctx context.Context, topic string) (Delivery, error) {
	return srv.nodes.Count(ctx, Target{}, &Command{Verb: VerbSubscribers, Topic: topic})
}

// Presence returns which of the users have a session, on all nodes. The error wraps
// ErrTooManyUsers or registry.ErrName.
func (srv *Server) Presence(ctx context.Context, users []string) (UserList, error) {
	return srv.nodes.Presence(ctx, users)
}

// TopicUsers returns users with sessions that subscribe to a topic, on all nodes: the first
// ones after a name, at most limit, which is 1 to MaxPage. Sessions without a user are not
// counted.
func (srv *Server) TopicUsers(ctx context.Context, topic, after string, limit int) (UserList, error) {
	return srv.nodes.TopicUsers(ctx, topic, after, limit)
}

// Users returns users who have sessions, on all nodes, in the byte order of their names. A user
// who has a session from the first page to the last is in exactly one of them. Each page costs
// a look at every user of every node.
func (srv *Server) Users(ctx context.Context, q PageQuery) (UserList, error) {
	return srv.operator().Users(ctx, q)
}

// Topics is Users for topics that have subscribers.
func (srv *Server) Topics(ctx context.Context, q PageQuery) (TopicList, error) {
	return srv.operator().Topics(ctx, q)
}

// UserSessionPage lists sessions of a user, on all nodes. A session that is open from the first
// page to the last is in exactly one of them.
func (srv *Server) UserSessionPage(ctx context.Context, q SessionQuery) (SessionPage, error) {
	return srv.operator().UserSessionPage(ctx, q)
}

// Nodes lists the live nodes of the cluster, or this one alone, whose name is empty then.
func (srv *Server) Nodes(ctx context.Context) NodeList { return srv.nodes.Nodes(ctx) }

// CloseSession closes the session with the ID of a SessionInfo, on whichever node it is, and
// returns 1 in Receivers if it was open. Then the answer is complete, whatever other nodes do.
func (srv *Server) CloseSession(ctx context.Context, id string, code Code, reason string) (Delivery, error) {
	return srv.operator().CloseSession(ctx, id, code, reason)
}

// StartClose starts to close sessions, on all nodes, and returns before the first is closed. Each
// node spreads the closes of its own sessions evenly, in steps of 20 ms, in no particular order.
//
// Sessions that are open at the start are closed, each once; a session that opens later (to
// 100 ms) is not, so that a client that connects again is left alone. Drain ends paced closes where
// they are. Errors: ErrAudience, ErrPage, ErrManyPaced, ErrNoNode.
func (srv *Server) StartClose(ctx context.Context, o CloseOrder) (ClosingDelivery, error) {
	return srv.operator().StartClose(ctx, srv.paced.NewID(srv.wall()), o)
}

// ListCloses lists the paced closes that are under way, and the last that have ended.
func (srv *Server) ListCloses(ctx context.Context) (CloseList, error) {
	return srv.operator().ListCloses(ctx)
}

// FindClose returns a paced close. The error is ErrNoClose.
func (srv *Server) FindClose(ctx context.Context, id string) (ClosingDelivery, error) {
	return srv.operator().OneClose(ctx, operate.Closes, id)
}

// CancelClose ends a paced close: when it has returned, the nodes that have answered close no
// further session. For one that has ended it does nothing. The error is ErrNoClose.
func (srv *Server) CancelClose(ctx context.Context, id string) (ClosingDelivery, error) {
	return srv.operator().OneClose(ctx, operate.CancelClose, id)
}

// Trace is a trace that runs. It is for one goroutine.
type Trace struct{ of *allnodes.Trace }

// Trace starts a trace: from its first Next on, until End, events of the user are kept on all nodes
// that answer. Errors: registry.ErrName, ErrManyTraces.
func (srv *Server) Trace(o TraceOrder) (*Trace, error) {
	t, err := srv.operator().Trace(o)
	if err != nil {
		return nil, err
	}
	return &Trace{t}, nil
}

// Next waits for events, at most for a time, and returns without one when it has passed, when
// other nodes are missing than before, or from the first call. A trace must be called every few
// seconds: without it, nodes end the trace by themselves. The error is ctx.Err() or
// ErrManyTraces.
func (t *Trace) Next(ctx context.Context, wait time.Duration) (TraceBatch, error) {
	return t.of.Next(ctx, wait)
}

// End ends the trace on all nodes that can be reached; the others end it after a few seconds.
func (t *Trace) End(ctx context.Context) { t.of.End(ctx) }

// The rest of this file has what a backend does with the sessions of a user, on all nodes.

// Disconnect closes all sessions of a user, on all nodes, and returns their number.
func (srv *Server) Disconnect(ctx context.Context, user string, code Code, reason string) (Delivery, error) {
	return srv.nodes.Count(ctx, Target{User: user}, &Command{Verb: VerbClose, User: user, Code: code, Reason: reason})
}

func (srv *Server) disconnectHere(user string, code Code, reason string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Close(code, reason) {
			n++
		}
	}
	return n
}

// SubscribeUser subscribes the sessions that a user has now, on all nodes, to a
// topic, and returns how many do. Sessions that are opened later do not. The error
// is registry.ErrTooManyTopics if a session has no room for one more.
func (srv *Server) SubscribeUser(ctx context.Context, user, topic string) (Delivery, error) {
	return srv.nodes.SubscribeUser(ctx, user, topic)
}

func (srv *Server) subscribeHere(user, topic string) (n int, err error) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if _, e := s.subscribe(topic, replay.Start{}, true); e != nil {
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
	return srv.nodes.Count(ctx, Target{User: user}, &Command{Verb: VerbUnsubscribe, User: user, Topic: topic})
}

func (srv *Server) unsubscribeHere(user, topic string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Unsubscribe(topic) {
			n++
		}
	}
	return n
}

// RefreshUser changes the sessions that a user has now, on all nodes, and returns their
// number. Sessions that are opened later have the identity that they prove.
func (srv *Server) RefreshUser(ctx context.Context, user string, change IdentityChange) (Delivery, error) {
	if err := change.Validate(); err != nil {
		return Delivery{}, err
	}
	text, err := json.Marshal(change)
	if err != nil { // names were checked to be UTF-8
		return Delivery{}, err
	}
	c := &Command{Verb: VerbRefresh, User: user, Op: Text, Payload: text}
	n, answer, err := srv.nodes.Do(ctx, Target{User: user}, c, func() int { return srv.refreshLocal(user, &change) })
	return Delivery{Receivers: n, Coverage: answer.Coverage}, err
}

func (srv *Server) refreshLocal(user string, c *IdentityChange) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.phase() == open {
			s.change(c)
			n++
		}
	}
	srv.stats.Refreshes.Add(int64(n))
	return n
}

// change applies a change to the session.
func (s *Session) change(c *IdentityChange) {
	was, _ := s.capabilities()
	var id Identity
	id.MaySubscribe, id.MayPublish, id.MayReadPresence = was.Subscribe.Names(), was.Publish.Names(), was.Presence.Names()
	if x := s.ext.Load(); x != nil {
		id.Limits = SessionLimits{Messages: int(x.maxMessages.Load()), Topics: int(x.maxTopics.Load())}
	}
	identity.Apply(c, &id)
	s.grant(&id)
	if c.Expires != nil {
		var at time.Time
		if *c.Expires > 0 {
			at = fromSeconds(*c.Expires)
		}
		s.setExpiry(at)
	}
	s.touch()
	if c.Subscribe == nil {
		return
	}
	for _, topic := range s.Topics() {
		if !Covers(*c.Subscribe, topic) && s.Unsubscribe(topic) {
			if d, tells := s.dialect().(unsubscriber); tells {
				d.unsubscribed(s, topic)
			}
		}
	}
}

// unsubscriber is a Dialect that tells a client about the end of a subscription.
type unsubscriber interface {
	unsubscribed(s *Session, topic string)
}

func (*v1) unsubscribed(s *Session, topic string) {
	v1Client{s}.Send(fanfarev1.Object{Type: "unsubscribe", Topic: topic})
}
