package allnodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fanfare/registry"
	"fanfare/server/node"
)

// Sessions lists the sessions of t, a user or the subscribers of a topic. It asks the nodes that
// hold the target to.
func (ns *Nodes) Sessions(ctx context.Context, to, t node.Target) (l node.SessionList) {
	var local []node.SessionInfo
	c := &node.Command{Verb: node.VerbSessions, User: t.User, Topic: t.Topic}
	_, answer, err := ns.Do(ctx, to, c, func() int {
		local = ns.here(c).Sessions
		return len(local)
	})
	l.Sessions, l.Coverage = local, ns.coverage(answer, err)
	for _, r := range answer.Replies {
		l.Sessions = append(l.Sessions, r.Sessions...)
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
	if ns.cfg.Cluster != nil {
		local.Node = ns.cfg.Cluster.Name()
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
