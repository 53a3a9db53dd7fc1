package server

import (
	"context"
	"errors"
	"fmt"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/operate"
	"fanfare/server/node"
)

// This file has what an operator asks of all nodes, and how one session is closed. The questions
// that nodes ask each other are in package operate.

// TopicSubscribers is a topic with the number of sessions that subscribe to it, and
// SessionDetails describes one session in a page.
type (
	TopicSubscribers = node.TopicSubscribers
	SessionDetails   = node.SessionDetails
)

var (
	// ErrPage is wrapped by errors about the fields of a PageQuery, a SessionQuery and a
	// CloseOrder.
	ErrPage = errors.New("server: invalid request")
	// ErrSessionID: the ID is not one of a SessionInfo.
	ErrSessionID = errors.New("server: malformed ID of a session")
)

// PageQuery says which part of a list of names is wanted.
type PageQuery struct {
	Prefix string // of the names; empty: all
	After  string // the last name of the page before; empty: the first page
	Limit  int    // 1 to MaxPage
}

// TopicList is topics that have subscribers, sorted.
type TopicList struct {
	Topics []TopicSubscribers
	// More says that further topics follow the last one.
	More bool
	// Coverage says whether all nodes are counted.
	Coverage
}

// Users returns users who have sessions, on all nodes, in the byte order of their names. A user
// who has a session from the first page to the last is in exactly one of them. Each page costs
// a look at every user of every node.
func (srv *Server) Users(ctx context.Context, q PageQuery) (UserList, error) {
	users, more, c, err := srv.namesOnAllNodes(ctx, operate.Users, q)
	return UserList{users, more, c}, err
}

// Topics is Users for topics that have subscribers.
func (srv *Server) Topics(ctx context.Context, q PageQuery) (l TopicList, err error) {
	names, more, c, err := srv.namesOnAllNodes(ctx, operate.Topics, q)
	l = TopicList{Topics: make([]TopicSubscribers, len(names)), More: more, Coverage: c}
	for i, u := range names {
		l.Topics[i] = TopicSubscribers{Topic: u.User, Subscribers: u.Sessions}
	}
	return l, err
}

func (srv *Server) namesOnAllNodes(ctx context.Context, k operate.Kind, q PageQuery) (names []UserSessions, more bool, c Coverage, err error) {
	limit := min(max(q.Limit, 1), MaxPage)
	answers, c, err := srv.operateOnAllNodes(ctx, Target{}, &operate.Question{Kind: k, Prefix: q.Prefix, After: q.After, Limit: limit + 1})
	if err != nil {
		return nil, false, c, err
	}
	lists := make([][]UserSessions, len(answers))
	for i := range answers {
		lists[i] = answers[i].Users
	}
	names = node.MergeUsers(lists...)
	if len(names) > limit {
		names, more = names[:limit], true
	}
	return names, more, c, nil
}

// SessionQuery says which sessions of a user are wanted.
type SessionQuery struct {
	User    string
	Node    string // SessionInfo.Node; empty: any
	Dialect string // SessionDetails.Dialect; empty: any
	Topic   string // which the session subscribes to; empty: any
	After   string // SessionPage.Next of the page before; empty: the first page
	Limit   int    // 1 to MaxPage
}

// SessionPage is sessions of a user in the order in which they were opened.
type SessionPage struct {
	Sessions []SessionDetails
	Next     string // SessionQuery.After of the next page; empty: this is the last one
	Coverage
}

// UserSessionPage lists sessions of a user, on all nodes. A session that is open from the first
// page to the last is in exactly one of them.
func (srv *Server) UserSessionPage(ctx context.Context, q SessionQuery) (p SessionPage, err error) {
	limit := min(max(q.Limit, 1), MaxPage)
	ask := &operate.Question{Kind: operate.Sessions, After: q.After, Limit: limit + 1, Dialect: q.Dialect,
		Target: operate.Target{User: q.User, Topic: q.Topic, Node: q.Node}}
	answers, c, err := srv.operateOnAllNodes(ctx, Target{User: q.User}, ask)
	p.Coverage = c
	for i := range answers {
		p.Sessions = append(p.Sessions, answers[i].Sessions...)
	}
	p.Sessions = operate.Page(p.Sessions, limit+1)
	if len(p.Sessions) > limit {
		p.Sessions = p.Sessions[:limit]
		p.Next = operate.SessionKey(&p.Sessions[limit-1])
	}
	return p, err
}

// CloseSession closes the session with the ID of a SessionInfo, on whichever node it is, and
// returns 1 in Receivers if it was open. Then the answer is complete, whatever other nodes do.
func (srv *Server) CloseSession(ctx context.Context, id string, code Code, reason string) (Delivery, error) {
	if _, _, err := node.CutSessionID(id); err != nil {
		return Delivery{}, fmt.Errorf("%w: %.80q", ErrSessionID, id)
	}
	answers, c, err := srv.operateOnAllNodes(ctx, Target{}, &operate.Question{Kind: operate.CloseSession, ID: id, Code: code, Reason: reason})
	d := Delivery{Coverage: c}
	for i := range answers {
		d.Receivers += answers[i].Count
	}
	if d.Receivers > 0 {
		d.Coverage = Coverage{}
	}
	return d, err
}

// operateOnAllNodes asks a question of this node and of the others that hold a target. An error
// says that nothing was done anywhere.
func (srv *Server) operateOnAllNodes(ctx context.Context, t Target, q *operate.Question) (answers []operate.Answer, c Coverage, err error) {
	if err := q.Check(); err != nil {
		if errors.Is(err, ErrAudience) || errors.Is(err, registry.ErrName) {
			return nil, c, err
		}
		return nil, c, fmt.Errorf("%w: %s", ErrPage, err)
	}
	ask := &Command{Verb: VerbInquire, Op: Text, Payload: q.Encode()}
	if q.Kind.Changes() {
		ask.Verb = VerbOperate
	}
	var local Reply
	var failed error // as of this process, whose errors keep their identity
	_, answer, err := srv.onAllNodes(ctx, t, ask, func() int {
		local = srv.inBoth(func() Reply {
			a, err := srv.answerTo(q)
			if err != nil {
				failed = err
				return Reply{}
			}
			b, err := a.Encode()
			failed = err
			return Reply{Data: [][]byte{b}}
		}, func() *Command { return ask })
		return 0
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, answer.Coverage, err
	}
	c = answer.Coverage
	if c.Unreachable == nil && srv.cluster != nil {
		c.Unreachable = srv.cluster.Ready()
	}
	for _, r := range append(answer.Replies, local) {
		for _, data := range r.Data {
			a, err := operate.ParseAnswer(data)
			if err != nil {
				srv.log.Warn("malformed answer of another process", "node", r.Node, "err", err)
				c = c.Merge(Coverage{Missing: 1, MissingNodes: []string{r.Node}})
				continue
			}
			answers = append(answers, a)
		}
	}
	return answers, c, nil
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
		a.Closes = srv.closesHere(q)
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

// NamedDialect is a Dialect whose name in lists of sessions is another one than its sub-protocol.
type NamedDialect interface {
	Dialect
	// Name is lower-case, such as "pusher".
	Name() string
}

// dialectName returns SessionDetails.Dialect.
func (s *Session) dialectName() string {
	d := s.dialect()
	if named, ok := d.(NamedDialect); ok {
		return named.Name()
	}
	if name := d.Protocol(); name != "" {
		return name
	}
	return "plain"
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
