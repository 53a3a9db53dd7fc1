package node

import (
	"slices"
	"time"
)

// Answer is what the other nodes answered together.
type Answer struct {
	Replies []Reply
	Coverage
}

// SessionInfo describes one session.
type SessionInfo struct {
	ID          string    `json:"id"`             // unique in the cluster
	Node        string    `json:"node,omitempty"` // empty without a cluster
	User        string    `json:"user"`
	RemoteAddr  string    `json:"remote_addr"` // empty for a Unix socket
	Opened      time.Time `json:"opened"`
	Topics      []string  `json:"topics"`
	QueuedBytes int       `json:"queued_bytes"`
	Protocol    string    `json:"protocol"`
	// ContentType is the media type of a Stream, empty for WebSocket.
	ContentType string `json:"content_type,omitempty"`
}

// MaxMissingNodes bounds Coverage.MissingNodes.
const MaxMissingNodes = 8

// Coverage says whether the other nodes of a cluster took part.
type Coverage struct {
	// Missing is the number of nodes that were expected to answer and did not in
	// time, or answered that they could not do it.
	Missing int
	// MissingNodes has the names of these nodes, sorted, at most MaxMissingNodes.
	// It is shorter than Missing if there are more, or if nodes share a name.
	MissingNodes []string
	// Unreachable is why other nodes could not be asked; nil: they could. Nodes
	// that were not heard of for 3.5 s are then not known, and not in Missing.
	Unreachable error
}

// Complete reports whether every node has answered.
func (c Coverage) Complete() bool { return c.Missing == 0 && c.Unreachable == nil }

// Merge returns the coverage of two calls together. A node that is missing in both
// counts once, as far as its name is known.
func (c Coverage) Merge(d Coverage) Coverage {
	if c.Unreachable == nil {
		c.Unreachable = d.Unreachable
	}
	c.Missing = max(c.Missing, d.Missing)
	c.MissingNodes = slices.Concat(c.MissingNodes, d.MissingNodes)
	return Tidy(c)
}

// Tidy returns c with its names sorted, each once, and no more than allowed.
func Tidy(c Coverage) Coverage {
	if len(c.MissingNodes) == 0 {
		return c
	}
	names := slices.Compact(slices.Sorted(slices.Values(c.MissingNodes)))
	c.Missing = max(c.Missing, len(names))
	c.MissingNodes = slices.Clip(names[:min(len(names), MaxMissingNodes)])
	return c
}

// Count returns the number of sessions that the other nodes have reported.
func Count(a Answer) (n int) {
	for _, r := range a.Replies {
		n += r.Count
	}
	return n
}
