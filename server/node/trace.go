package node

import "time"

// TraceEvent is something that has happened to the user of a trace.
type TraceEvent struct {
	Event string    `json:"event"` // see the constants
	Time  time.Time `json:"time"`
	Node  string    `json:"node,omitzero"` // empty without a cluster
	// Session is SessionInfo.ID.
	Session    string   `json:"session,omitzero"`
	Endpoint   string   `json:"endpoint,omitzero"`
	Dialect    string   `json:"dialect,omitzero"`
	RemoteAddr string   `json:"remote_addr,omitzero"`
	Topics     []string `json:"topics,omitzero"`
	Topic      string   `json:"topic,omitzero"`
	Epoch      string   `json:"epoch,omitzero"`
	Offset     uint64   `json:"offset,omitzero"`
	// Bytes is the length of the payload, and Queued what waits in the outbound queue.
	Bytes  int `json:"bytes,omitzero"`
	Queued int `json:"queued,omitzero"`
	// Text or Base64 is the payload, if the trace has payloads; Cut says that it is longer.
	Text   *string `json:"text,omitzero"`
	Base64 []byte  `json:"base64,omitzero"`
	Cut    bool    `json:"cut,omitzero"`
	// Status is that of a rejected handshake, and Code that of a close, which By has begun.
	Status int    `json:"status,omitzero"`
	Code   Code   `json:"code,omitzero"`
	By     string `json:"by,omitzero"`
	Reason string `json:"reason,omitzero"`
	// Count is the number of events that were lost.
	Count uint64 `json:"count,omitzero"`
}

// The values of TraceEvent.Event, with the fields that they have besides Time, Node, and, but for
// TraceRejected and TraceLost, Session.
const (
	TraceRejected     = "rejected"     // Endpoint, RemoteAddr, Status, Reason: a handshake of the user
	TraceOpened       = "opened"       // Endpoint, Dialect, RemoteAddr, Topics: the handshake was accepted
	TraceClosed       = "closed"       // Code, Reason, By: client, server or network
	TraceDelivered    = "delivered"    // Bytes, Queued, Topic, Epoch, Offset, Text or Base64, Cut: written or queued
	TraceDropped      = "dropped"      // Queued, Reason
	TraceAcknowledged = "acknowledged" // Topic, Epoch, Offset
	TraceSubscribed   = "subscribed"   // Topic
	TraceUnsubscribed = "unsubscribed" // Topic
	TracePingTimeout  = "ping_timeout" // closed follows
	TraceLost         = "lost"         // Count, 0: unknown; events that came faster than they were read
)

// TraceOrder says what a trace reports.
type TraceOrder struct {
	User    string
	Payload bool // TraceEvents have the payloads of messages
}

// TraceBatch is what has happened since the batch before, in the order of the nodes' clocks.
type TraceBatch struct {
	Events []TraceEvent
	Coverage
}
