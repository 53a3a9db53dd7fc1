package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fanfare/registry"
	"fanfare/server/node"
)

// This file answers questions about many users, and about nodes.

// UserSessions is a user with the number of its sessions.
type UserSessions = node.UserSessions

const (
	// MaxPresence bounds the users of one call of Presence.
	MaxPresence = node.MaxPresence
	// MaxPage bounds the users of one page of TopicUsers.
	MaxPage = node.MaxPage
)

// ErrTooManyUsers: Presence was called for more than MaxPresence users.
var ErrTooManyUsers = errors.New("server: too many users")

// UserList is users who have sessions, sorted.
type UserList struct {
	Users []UserSessions
	// More says that further users follow the last one.
	More bool
	// Coverage says whether all nodes are counted.
	Coverage
}

// Presence returns which of the users have a session, on all nodes. The error wraps
// ErrTooManyUsers or registry.ErrName.
func (srv *Server) Presence(ctx context.Context, users []string) (UserList, error) {
	if len(users) > MaxPresence {
		return UserList{}, fmt.Errorf("%w: %d, want at most %d", ErrTooManyUsers, len(users), MaxPresence)
	}
	for _, user := range users {
		if err := registry.CheckName(user); err != nil {
			return UserList{}, err
		}
	}
	return srv.usersOnAllNodes(ctx, Target{}, &Command{Verb: VerbPresence, Users: users})
}

// TopicUsers returns users with sessions that subscribe to a topic, on all nodes: the first
// ones after a name, at most limit, which is 1 to MaxPage. Sessions without a user are not
// counted.
func (srv *Server) TopicUsers(ctx context.Context, topic, after string, limit int) (UserList, error) {
	limit = min(max(limit, 1), MaxPage)
	// Each node answers with one user more than the page has. A user of the page is among
	// the first of each node where it has sessions, so that its count is right.
	c := &Command{Verb: VerbTopicUsers, Topic: topic, After: after, Limit: limit + 1}
	l, err := srv.usersOnAllNodes(ctx, Target{Topic: topic}, c)
	if len(l.Users) > limit {
		l.Users, l.More = l.Users[:limit], true
	}
	return l, err
}

func (srv *Server) usersOnAllNodes(ctx context.Context, t Target, c *Command) (l UserList, err error) {
	_, answer, err := srv.onAllNodes(ctx, t, c, func() int {
		l.Users = srv.locally(c).Users
		return len(l.Users)
	})
	l.Coverage = answer.Coverage
	if len(answer.Replies) > 0 {
		lists := [][]UserSessions{l.Users}
		for _, r := range answer.Replies {
			lists = append(lists, r.Users)
		}
		l.Users = node.MergeUsers(lists...)
	}
	return l, err
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

// NodeInfo describes a node of a cluster.
type NodeInfo struct {
	Name string `json:"name"`
	// State is a Status in words, or "missing" if the node did not answer.
	State    string    `json:"state"`
	Sessions int       `json:"sessions"`
	Version  string    `json:"version,omitempty"` // Config.Version of the node
	Since    time.Time `json:"since,omitzero"`    // when its server was made
}

// NodeMissing is the state of a node that did not answer.
const NodeMissing = "missing"

// NodeList is the nodes of a cluster.
type NodeList struct {
	// Nodes, sorted by name. Up to MaxMissingNodes that did not answer are among them.
	Nodes []NodeInfo
	// Coverage says whether all nodes have answered.
	Coverage
}

// Nodes lists the live nodes of the cluster, or this one alone, whose name is empty then.
func (srv *Server) Nodes(ctx context.Context) (l NodeList) {
	c := &Command{Verb: VerbDescribe}
	var local Reply
	_, answer, err := srv.onAllNodes(ctx, Target{}, c, func() int {
		local = srv.locally(c)
		return local.Count
	})
	if l.Coverage = answer.Coverage; err != nil {
		l.Unreachable = err
	}
	if srv.cluster != nil {
		local.Node = srv.cluster.Name()
	}
	for _, r := range append(answer.Replies, local) {
		if r.Error != "" { // it is among the missing nodes
			continue
		}
		l.Nodes = append(l.Nodes, NodeInfo{r.Node, r.About.State, r.Count, r.About.Version, r.About.Since})
	}
	for _, name := range l.MissingNodes {
		l.Nodes = append(l.Nodes, NodeInfo{Name: name, State: NodeMissing})
	}
	slices.SortStableFunc(l.Nodes, func(a, b NodeInfo) int { return strings.Compare(a.Name, b.Name) })
	return l
}

func (srv *Server) describe() node.Description {
	return node.Description{State: srv.Status().String(), Version: srv.cfg.Version, Since: srv.started.UTC()}
}
