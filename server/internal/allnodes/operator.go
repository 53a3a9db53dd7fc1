package allnodes

import (
	"context"
	"errors"
	"fmt"

	"fanfare/registry"
	"fanfare/server/internal/operate"
	"fanfare/server/node"
)

// Operator asks the questions of package operate of all nodes.
type Operator struct {
	*Nodes
	// Answer answers a question for the sessions of this process.
	Answer func(*operate.Question) (operate.Answer, error)
}

// inquire asks a question of this node and of the others that hold a target. An error
// says that nothing was done anywhere.
func (op *Operator) inquire(ctx context.Context, t node.Target, q *operate.Question) (answers []operate.Answer, c node.Coverage, err error) {
	if err := q.Check(); err != nil {
		if errors.Is(err, node.ErrAudience) || errors.Is(err, registry.ErrName) {
			return nil, c, err
		}
		return nil, c, fmt.Errorf("%w: %s", ErrPage, err)
	}
	ask := &node.Command{Verb: node.VerbInquire, Op: text, Payload: q.Encode()}
	if q.Kind.Changes() {
		ask.Verb = node.VerbOperate
	}
	var local node.Reply
	var failed error // as of this process, whose errors keep their identity
	_, answer, err := op.Do(ctx, t, ask, func() int {
		local = op.cfg.Process.Both(func() node.Reply {
			a, err := op.Answer(q)
			if err != nil {
				failed = err
				return node.Reply{}
			}
			b, err := a.Encode()
			failed = err
			return node.Reply{Data: [][]byte{b}}
		}, func() *node.Command { return ask })
		return 0
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, answer.Coverage, err
	}
	c = op.coverage(answer, nil)
	for _, r := range append(answer.Replies, local) {
		for _, data := range r.Data {
			a, err := operate.ParseAnswer(data)
			if err != nil {
				op.cfg.Logger.Warn("malformed answer of another process", "node", r.Node, "err", err)
				c = c.Merge(node.Coverage{Missing: 1, MissingNodes: []string{r.Node}})
				continue
			}
			answers = append(answers, a)
		}
	}
	return answers, c, nil
}

// Users returns users who have sessions, on all nodes, in the byte order of their names. A user
// who has a session from the first page to the last is in exactly one of them. Each page costs
// a look at every user of every node.
func (op *Operator) Users(ctx context.Context, q node.PageQuery) (node.UserList, error) {
	users, more, c, err := op.names(ctx, operate.Users, q)
	return node.UserList{Users: users, More: more, Coverage: c}, err
}

// Topics is Users for topics that have subscribers.
func (op *Operator) Topics(ctx context.Context, q node.PageQuery) (l node.TopicList, err error) {
	names, more, c, err := op.names(ctx, operate.Topics, q)
	l = node.TopicList{Topics: make([]node.TopicSubscribers, len(names)), More: more, Coverage: c}
	for i, u := range names {
		l.Topics[i] = node.TopicSubscribers{Topic: u.User, Subscribers: u.Sessions}
	}
	return l, err
}

func (op *Operator) names(ctx context.Context, k operate.Kind, q node.PageQuery) (names []node.UserSessions, more bool, c node.Coverage, err error) {
	limit := min(max(q.Limit, 1), node.MaxPage)
	answers, c, err := op.inquire(ctx, node.Target{}, &operate.Question{Kind: k, Prefix: q.Prefix, After: q.After, Limit: limit + 1})
	if err != nil {
		return nil, false, c, err
	}
	lists := make([][]node.UserSessions, len(answers))
	for i := range answers {
		lists[i] = answers[i].Users
	}
	names = node.MergeUsers(lists...)
	if len(names) > limit {
		names, more = names[:limit], true
	}
	return names, more, c, nil
}

// UserSessionPage lists sessions of a user, on all nodes. A session that is open from the first
// page to the last is in exactly one of them.
func (op *Operator) UserSessionPage(ctx context.Context, q node.SessionQuery) (p node.SessionPage, err error) {
	limit := min(max(q.Limit, 1), node.MaxPage)
	ask := &operate.Question{Kind: operate.Sessions, After: q.After, Limit: limit + 1, Dialect: q.Dialect,
		Target: operate.Target{User: q.User, Topic: q.Topic, Node: q.Node}}
	answers, c, err := op.inquire(ctx, node.Target{User: q.User}, ask)
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
func (op *Operator) CloseSession(ctx context.Context, id string, code node.Code, reason string) (node.Delivery, error) {
	if _, _, err := node.CutSessionID(id); err != nil {
		return node.Delivery{}, fmt.Errorf("%w: %.80q", ErrSessionID, id)
	}
	answers, c, err := op.inquire(ctx, node.Target{}, &operate.Question{Kind: operate.CloseSession, ID: id, Code: code, Reason: reason})
	d := node.Delivery{Coverage: c}
	for i := range answers {
		d.Receivers += answers[i].Count
	}
	if d.Receivers > 0 {
		d.Coverage = node.Coverage{}
	}
	return d, err
}

// StartClose has all nodes start a paced close with an ID. The error is ErrNoNode if none has the
// name in the order.
func (op *Operator) StartClose(ctx context.Context, id string, o node.CloseOrder) (node.ClosingDelivery, error) {
	q := &operate.Question{Kind: operate.Close, ID: id, Over: int64(o.Over), Rate: o.Rate, Code: o.Code, Reason: o.Reason,
		Target: operate.Target{Users: o.Users, Topic: o.Topic, All: o.All, Node: o.Node}}
	if o.Where != nil {
		q.Where = o.Where.String()
	}
	d, err := op.oneClose(ctx, q)
	if errors.Is(err, ErrNoClose) {
		err = ErrNoNode
	}
	return d, err
}

// ListCloses lists the paced closes that are under way, and the last that have ended.
func (op *Operator) ListCloses(ctx context.Context) (node.CloseList, error) {
	answers, c, err := op.inquire(ctx, node.Target{}, &operate.Question{Kind: operate.Closes})
	return node.CloseList{Closes: operate.MergeCloses(answers), Coverage: c}, err
}

// OneClose asks a question of the kind Closes or CancelClose about one paced close. The error is
// ErrNoClose.
func (op *Operator) OneClose(ctx context.Context, k operate.Kind, id string) (node.ClosingDelivery, error) {
	if node.CheckPacedID(id) != nil { // no node has it
		return node.ClosingDelivery{}, ErrNoClose
	}
	return op.oneClose(ctx, &operate.Question{Kind: k, ID: id})
}

// oneClose asks a question that is answered with one paced close.
func (op *Operator) oneClose(ctx context.Context, q *operate.Question) (node.ClosingDelivery, error) {
	answers, c, err := op.inquire(ctx, node.Target{}, q)
	if err != nil {
		return node.ClosingDelivery{Coverage: c}, err
	}
	all := operate.MergeCloses(answers)
	if len(all) == 0 {
		return node.ClosingDelivery{Coverage: c}, ErrNoClose
	}
	return node.ClosingDelivery{PacedClose: all[0], Coverage: c}, nil
}
