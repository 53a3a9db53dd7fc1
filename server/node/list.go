package node

import (
	"time"
)

// This file has what a server answers about all nodes: lists, each with its Coverage.

// Delivery reports how many sessions a message has reached.
type Delivery struct {
	// Receivers is the number of sessions that the message was written or queued
	// to, on all nodes that answered.
	Receivers int
	// Coverage says whether Receivers counts every node. The sessions of a node
	// that is missing may have received the message.
	Coverage
}

// SessionList describes the sessions of a user or a topic.
type SessionList struct {
	// Sessions in the order in which they were opened.
	Sessions []SessionInfo
	// Coverage says whether the list is complete.
	Coverage
}

// UserList is users who have sessions, sorted.
type UserList struct {
	Users []UserSessions
	// More says that further users follow the last one.
	More bool
	// Coverage says whether all nodes are counted.
	Coverage
}

// TopicList is topics that have subscribers, sorted.
type TopicList struct {
	Topics []TopicSubscribers
	// More says that further topics follow the last one.
	More bool
	// Coverage says whether all nodes are counted.
	Coverage
}

// PageQuery says which part of a list of names is wanted.
type PageQuery struct {
	Prefix string // of the names; empty: all
	After  string // the last name of the page before; empty: the first page
	Limit  int    // 1 to MaxPage
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
