package allnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fanfare/registry"
	"fanfare/server/internal/operate"
	"fanfare/server/node"
)

// Sessions lists the sessions of a user, or of the subscribers of a topic, as the nodes know them
// that hold the target to.
func (ns *Nodes) Sessions(ctx context.Context, to, t node.Target) (l node.SessionList) {
	var local []node.SessionInfo
	c := &node.Command{Verb: node.VerbSessions, User: t.User, Topic: t.Topic}
	_, answer, err := ns.Do(ctx, to, c, func() int {
		local = ns.here(c).Sessions
		return len(local)
	})
	l.Sessions, l.Coverage = local, answer.Coverage
	if err != nil {
		l.Unreachable = err
	}
	for _, r := range answer.Replies {
		l.Sessions = append(l.Sessions, r.Sessions...)
	}
	if l.Unreachable == nil && ns.Cluster != nil {
		l.Unreachable = ns.Cluster.Ready()
	}
	slices.SortFunc(l.Sessions, func(x, y node.SessionInfo) int { return x.Opened.Compare(y.Opened) })
	return l
}

// SubscribeUser subscribes the sessions that a user has now, on all nodes, to a
// topic, and returns how many do. Sessions that are opened later do not. The error
// is registry.ErrTooManyTopics if a session has no room for one more.
func (ns *Nodes) SubscribeUser(ctx context.Context, user, topic string) (node.Delivery, error) {
	var failed error
	c := &node.Command{Verb: node.VerbSubscribe, User: user, Topic: topic}
	n, answer, err := ns.Do(ctx, node.Target{User: user}, c, func() int {
		r := ns.here(c)
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
	return node.Delivery{Receivers: n, Coverage: answer.Coverage}, errors.Join(err, failed)
}

// Presence returns which of the users have a session, on all nodes. The error wraps
// ErrTooManyUsers or registry.ErrName.
func (ns *Nodes) Presence(ctx context.Context, users []string) (node.UserList, error) {
	if len(users) > node.MaxPresence {
		return node.UserList{}, fmt.Errorf("%w: %d, want at most %d", ErrTooManyUsers, len(users), node.MaxPresence)
	}
	for _, user := range users {
		if err := registry.CheckName(user); err != nil {
			return node.UserList{}, err
		}
	}
	return ns.users(ctx, node.Target{}, &node.Command{Verb: node.VerbPresence, Users: users})
}

// TopicUsers returns users with sessions that subscribe to a topic, on all nodes: the first
// ones after a name, at most limit, which is 1 to MaxPage. Sessions without a user are not
// counted.
func (ns *Nodes) TopicUsers(ctx context.Context, topic, after string, limit int) (node.UserList, error) {
	limit = min(max(limit, 1), node.MaxPage)
	// Each node answers with one user more than the page has. A user of the page is among
	// the first of each node where it has sessions, so that its count is right.
	c := &node.Command{Verb: node.VerbTopicUsers, Topic: topic, After: after, Limit: limit + 1}
	l, err := ns.users(ctx, node.Target{Topic: topic}, c)
	if len(l.Users) > limit {
		l.Users, l.More = l.Users[:limit], true
	}
	return l, err
}

func (ns *Nodes) users(ctx context.Context, t node.Target, c *node.Command) (l node.UserList, err error) {
	_, answer, err := ns.Do(ctx, t, c, func() int {
		l.Users = ns.here(c).Users
		return len(l.Users)
	})
	l.Coverage = answer.Coverage
	if len(answer.Replies) > 0 {
		lists := [][]node.UserSessions{l.Users}
		for _, r := range answer.Replies {
			lists = append(lists, r.Users)
		}
		l.Users = node.MergeUsers(lists...)
	}
	return l, err
}

// Nodes lists the live nodes of the cluster, or this one alone, whose name is empty then.
func (ns *Nodes) Nodes(ctx context.Context) (l node.NodeList) {
	c := &node.Command{Verb: node.VerbDescribe}
	var local node.Reply
	_, answer, err := ns.Do(ctx, node.Target{}, c, func() int {
		local = ns.here(c)
		return local.Count
	})
	if l.Coverage = answer.Coverage; err != nil {
		l.Unreachable = err
	}
	if ns.Cluster != nil {
		local.Node = ns.Cluster.Name()
	}
	for _, r := range append(answer.Replies, local) {
		if r.Error != "" { // it is among the missing nodes
			continue
		}
		l.Nodes = append(l.Nodes, node.NodeInfo{Name: r.Node, State: r.About.State, Sessions: r.Count, Version: r.About.Version, Since: r.About.Since})
	}
	for _, name := range l.MissingNodes {
		l.Nodes = append(l.Nodes, node.NodeInfo{Name: name, State: node.NodeMissing})
	}
	slices.SortStableFunc(l.Nodes, func(a, b node.NodeInfo) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// Users returns users who have sessions, on all nodes, in the byte order of their names. A user
// who has a session from the first page to the last is in exactly one of them. Each page costs
// a look at every user of every node.
func (ns *Nodes) Users(ctx context.Context, q node.PageQuery) (node.UserList, error) {
	users, more, c, err := ns.names(ctx, operate.Users, q)
	return node.UserList{Users: users, More: more, Coverage: c}, err
}

// Topics is Users for topics that have subscribers.
func (ns *Nodes) Topics(ctx context.Context, q node.PageQuery) (l node.TopicList, err error) {
	names, more, c, err := ns.names(ctx, operate.Topics, q)
	l = node.TopicList{Topics: make([]node.TopicSubscribers, len(names)), More: more, Coverage: c}
	for i, u := range names {
		l.Topics[i] = node.TopicSubscribers{Topic: u.User, Subscribers: u.Sessions}
	}
	return l, err
}

func (ns *Nodes) names(ctx context.Context, k operate.Kind, q node.PageQuery) (names []node.UserSessions, more bool, c node.Coverage, err error) {
	limit := min(max(q.Limit, 1), node.MaxPage)
	answers, c, err := ns.inquire(ctx, node.Target{}, &operate.Question{Kind: k, Prefix: q.Prefix, After: q.After, Limit: limit + 1})
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
func (ns *Nodes) UserSessionPage(ctx context.Context, q node.SessionQuery) (p node.SessionPage, err error) {
	limit := min(max(q.Limit, 1), node.MaxPage)
	ask := &operate.Question{Kind: operate.Sessions, After: q.After, Limit: limit + 1, Dialect: q.Dialect,
		Target: operate.Target{User: q.User, Topic: q.Topic, Node: q.Node}}
	answers, c, err := ns.inquire(ctx, node.Target{User: q.User}, ask)
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
func (ns *Nodes) CloseSession(ctx context.Context, id string, code node.Code, reason string) (node.Delivery, error) {
	if _, _, err := node.CutSessionID(id); err != nil {
		return node.Delivery{}, fmt.Errorf("%w: %.80q", ErrSessionID, id)
	}
	answers, c, err := ns.inquire(ctx, node.Target{}, &operate.Question{Kind: operate.CloseSession, ID: id, Code: code, Reason: reason})
	d := node.Delivery{Coverage: c}
	for i := range answers {
		d.Receivers += answers[i].Count
	}
	if d.Receivers > 0 {
		d.Coverage = node.Coverage{}
	}
	return d, err
}

// Receipt returns the receipt of a message, nil with ErrNoReceipt if no node has it.
func (ns *Nodes) Receipt(ctx context.Context, id string) (all *node.Receipt, coverage node.Coverage, err error) {
	if node.CheckReceiptID(id) != nil { // no node has it
		return nil, node.Coverage{}, ErrNoReceipt
	}
	c := &node.Command{Verb: node.VerbReceipt, ID: id}
	_, answer, err := ns.Do(ctx, node.Target{}, c, func() int {
		all = ns.here(c).Receipt
		return 0
	})
	for _, r := range answer.Replies {
		all = node.MergeReceipts(all, r.Receipt)
	}
	coverage = answer.Coverage
	if err != nil {
		coverage.Unreachable = err
	}
	if all == nil {
		return nil, coverage, ErrNoReceipt
	}
	return all, coverage, nil
}
