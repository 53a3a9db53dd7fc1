package netpoll

import "sync/atomic"

// traffic counts the bytes of all connections. Connections share trafficParts counters,
// by their generation: with one counter, cores that serve different connections would
// wait for each other's writes to its cache line.
type traffic [trafficParts]trafficPart

const (
	trafficParts = 16
	cacheLine    = 64
)

type trafficPart struct {
	received atomic.Int64
	sent     atomic.Int64
	queued   atomic.Int64 // bytes in outbound queues now
	_        [cacheLine - 3*8]byte
}

// traffic returns the counters of a connection that is open.
func (c *Conn) traffic() *trafficPart { return &c.engine.traffic[c.gen%trafficParts] }

// sum returns the totals of all connections.
func (t *traffic) sum() (received, sent, queued int64) {
	for i := range t {
		received += t[i].received.Load()
		sent += t[i].sent.Load()
		queued += t[i].queued.Load()
	}
	return received, sent, queued
}
