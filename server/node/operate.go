package node

import (
	"time"

	"fanfare/server/where"
)

// This file has what an operator asks of all nodes. The questions themselves are in package
// operate: VerbInquire and VerbOperate carry them in JSON.

// TopicSubscribers is a topic with the number of sessions that subscribe to it.
type TopicSubscribers struct {
	Topic       string `json:"topic"`
	Subscribers int    `json:"subscribers"`
}

// SessionDetails is a SessionInfo with what only a list of the sessions of one user has.
type SessionDetails struct {
	SessionInfo
	// Dialect is what the session speaks: plain, fanfare.v1, sse, pusher, or another
	// sub-protocol of the endpoint.
	Dialect string `json:"dialect"`
}

// PacedClose describes sessions that are closed over a time. PacedBroadcast.Topic is empty
// unless its subscribers are closed, and Receivers is the number of sessions that were closed.
type PacedClose struct {
	PacedBroadcast
	Users  []string `json:"users,omitempty"`
	All    bool     `json:"all,omitempty"`
	Node   string   `json:"node,omitempty"`
	Where  string   `json:"where,omitempty"`
	Code   Code     `json:"code"`
	Reason string   `json:"reason,omitempty"`
}

// CloseOrder says which sessions are closed, how fast, and what their clients are told.
type CloseOrder struct {
	// One of Users (at most MaxCloseUsers), Topic (its subscribers), and All; or Node alone: all
	// sessions of a node.
	Users []string
	Topic string
	All   bool
	// Node, a name as in SessionInfo.Node, restricts them to sessions of one node.
	Node string
	// Where, unless nil, is what the labels of a session meet.
	Where *where.Expr
	// Over is the time from the first close to the last, MinPace to MaxPace, or Rate is the
	// number of sessions that each node closes in a second. One of the two is set.
	Over time.Duration
	Rate int
	// Code and Reason as for Session.Close.
	Code   Code
	Reason string
}

// ClosingDelivery is a paced close, and whether every node has answered.
type ClosingDelivery struct {
	PacedClose
	Coverage
}

// CloseList is a list of paced closes, and whether every node has answered.
type CloseList struct {
	Closes []PacedClose // in the order in which they were started
	Coverage
}
