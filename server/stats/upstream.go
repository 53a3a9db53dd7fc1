package stats

import "sync/atomic"

// PublishResult says what has become of a message that a client published.
type PublishResult int

// The results, in the order of publishResults.
const (
	PublishAccepted  PublishResult = iota // delivered or stored
	PublishForbidden                      // the client may not publish to the topic
	PublishBusy                           // too many messages were waiting
	PublishFailed                         // too long, or not stored
	publishes
)

var publishResults = [publishes]string{"accepted", "forbidden", "busy", "failed"}

// RequestResult says what has become of a message that a client sent to a Responder.
type RequestResult int

// The results, in the order of requestResults.
const (
	RequestAnswered RequestResult = iota
	RequestEmpty                  // accepted, and there is nothing to say
	RequestRejected               // with an error for the client
	RequestBusy                   // too many messages were waiting
	RequestFailed                 // an error for the log, or a panic
	requests
)

var requestResults = [requests]string{"answered", "empty", "rejected", "busy", "failed"}

// byName returns counters by the names of their results, those of 0 included.
func byName(counters []atomic.Int64, names []string) map[string]int64 {
	by := make(map[string]int64, len(names))
	for i, name := range names {
		by[name] = counters[i].Load()
	}
	return by
}
