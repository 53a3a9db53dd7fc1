package node

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
