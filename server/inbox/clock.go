package inbox

import (
	"sync/atomic"
	"time"
)

// storeClock bounds how far the clock by which the messages of a stream are stamped, that of
// the NATS server which leads it, is ahead of this machine's. The answers to requests for
// the stream have the time of that clock.
type storeClock struct {
	least atomic.Int64 // ns, negative if the clock may be slow; 0: not known yet
}

const (
	// unknownClock is the difference that is assumed with a NATS that does not say its
	// time, and before the first answer.
	unknownClock = 2 * time.Second
	// clockSlack is how much the clocks of the NATS servers may differ from each other:
	// another one may lead since the last answer.
	clockSlack = 50 * time.Millisecond
)

// note takes the time of an answer that has arrived at now. It was given earlier, so the
// clock is ahead by at least the difference.
func (c *storeClock) note(answered, now time.Time) {
	if !answered.IsZero() {
		c.least.Store(int64(answered.Sub(now) - clockSlack))
	}
}

// earliest returns a lower bound of the time that the clock showed when this machine's
// showed t.
func (c *storeClock) earliest(t time.Time) time.Time {
	least := time.Duration(c.least.Load())
	if least == 0 {
		least = -unknownClock
	}
	return t.Add(least)
}
