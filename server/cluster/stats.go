package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats are the state of a Cluster and its counters since New.
type Stats struct {
	Nodes       int   // live nodes, this one included
	Connected   bool  // to NATS
	MaxPayload  int64 // of the NATS server; 0: not known yet
	QueuedBytes int   // waiting to be sent

	Sent, SentBytes         int64 // NATS messages, fragments and beats included
	Received, ReceivedBytes int64
	Asked                   int64 // calls of Ask that sent something
	Missing                 int64 // sum of Answer.Missing
	Served                  int64 // commands of other nodes
	Panics                  int64 // recovered, in Node.Serve, Node.Missed and the handling of messages
	Missed                  int64 // calls of Node.Missed
	Repeated                int64 // stored commands announced once more
	Connects                int64 // to NATS
	Stalls                  int64 // connections given up because NATS did not answer
	DuplicateNames          int64 // nodes that were seen to have this node's name
	ClocksAhead             int64 // nodes that were seen to have a clock more than 5 s ahead of this node's
	Dropped                 Dropped
}

// Dropped counts messages that were dropped, by reason.
type Dropped struct {
	Unreachable int64 // outgoing: no connection to NATS
	QueueFull   int64 // outgoing: too much was waiting
	Expired     int64 // outgoing: waited too long
	TooBig      int64 // outgoing: exceeds what is carried
	SlowNode    int64 // incoming: this node was too slow; a burst dropped by the NATS client counts once
	Malformed   int64 // incoming: not a valid message
	Version     int64 // incoming: of another protocol version
	Incomplete  int64 // incoming: fragments of a message that is not complete
}

type counters struct {
	sent, sentBytes, received, receivedBytes      atomic.Int64
	asked, missing, served, panics, missed        atomic.Int64
	repeated, connects, stalls, names, clocks     atomic.Int64
	unreachable, queueFull, expired, tooBig       atomic.Int64
	slowNode, malformed, otherVersion, incomplete atomic.Int64
}

// Stats returns the current state and counters.
func (c *Cluster) Stats() Stats {
	n := &c.count
	_, queued := c.out.size()
	return Stats{
		Nodes: c.Nodes(), Connected: c.conn.up.Load(), MaxPayload: c.conn.maxPayload.Load(), QueuedBytes: queued,
		Sent: n.sent.Load(), SentBytes: n.sentBytes.Load(),
		Received: n.received.Load(), ReceivedBytes: n.receivedBytes.Load(),
		Asked: n.asked.Load(), Missing: n.missing.Load(), Served: n.served.Load(), Panics: n.panics.Load(),
		Missed: n.missed.Load(), Repeated: n.repeated.Load(), Connects: n.connects.Load(), Stalls: n.stalls.Load(),
		DuplicateNames: n.names.Load(), ClocksAhead: n.clocks.Load(),
		Dropped: Dropped{
			Unreachable: n.unreachable.Load(), QueueFull: n.queueFull.Load(), Expired: n.expired.Load(), TooBig: n.tooBig.Load(),
			SlowNode: n.slowNode.Load(), Malformed: n.malformed.Load(), Version: n.otherVersion.Load(), Incomplete: n.incomplete.Load(),
		},
	}
}

// limiter lets a log event through once a minute for each key, so that what
// recurs with each message does not fill the log. The zero value is ready.
type limiter struct {
	mu     sync.Mutex
	logged map[string]time.Time // guarded by mu
}

// limiterKeys bounds the keys that are remembered.
const limiterKeys = 100

func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.logged[key]; ok && now.Sub(at) < time.Minute {
		return false
	}
	if l.logged == nil || len(l.logged) >= limiterKeys {
		l.logged = make(map[string]time.Time)
	}
	l.logged[key] = now
	return true
}

// warn logs an event, at most once a minute for each event and key.
func (c *Cluster) warn(event, key string, args ...any) {
	if c.limit.allow(event+"\x00"+key, c.now()) {
		c.log.Warn(event, args...)
	}
}
