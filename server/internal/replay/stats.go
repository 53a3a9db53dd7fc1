package replay

import "sync/atomic"

// Stats are counters since the start, and two present values.
type Stats struct {
	Sessions int `json:"sessions"` // that have state here, now
	Waiting  int `json:"waiting"`  // that wait for a worker or the store, now

	Replayed   int64 `json:"replayed"`   // stored messages written
	Gaps       int64 `json:"gaps"`       // gaps announced
	Resets     int64 `json:"resets"`     // sessions whose offset belonged to another history
	Expired    int64 `json:"expired"`    // messages passed over as they had expired
	Damaged    int64 `json:"damaged"`    // reads that found damage
	TooBig     int64 `json:"too_big"`    // sessions that ended with 1009 while a stored message was in flight
	Skipped    int64 `json:"skipped"`    // messages passed over because they were too big for clients, or could not be encoded, twice
	Ignored    int64 `json:"ignored"`    // acknowledgements for an earlier epoch of their session
	Unstored   int64 `json:"unstored"`   // positions in topics not stored, as a user or an address has the maximum number of them
	Unanswered int64 `json:"unanswered"` // sessions that do not answer pings properly
	Dropped    int64 `json:"dropped"`    // live messages held when their session ended
	Panics     int64 `json:"panics"`     // sessions ended because of a panic
}

type counters struct {
	sessions, replayed, gaps, resets, expired, damaged,
	tooBig, skipped, ignored, unstored, unanswered, dropped, panics atomic.Int64
}

// Stats returns the counters.
func (v *Service) Stats() Stats {
	v.mu.Lock()
	n := len(v.queue) + len(v.waiting)
	v.mu.Unlock()
	c := &v.counters
	return Stats{
		Sessions:   int(c.sessions.Load()),
		Waiting:    n,
		Replayed:   c.replayed.Load(),
		Gaps:       c.gaps.Load(),
		Resets:     c.resets.Load(),
		Expired:    c.expired.Load(),
		Damaged:    c.damaged.Load(),
		TooBig:     c.tooBig.Load(),
		Skipped:    c.skipped.Load(),
		Ignored:    c.ignored.Load(),
		Unstored:   c.unstored.Load(),
		Unanswered: c.unanswered.Load(),
		Dropped:    c.dropped.Load(),
		Panics:     c.panics.Load(),
	}
}
