package drain

import (
	"context"
	"time"
)

// Step is how often a batch of connections is closed.
const Step = 50 * time.Millisecond

// Config is what Run needs to know of the connections.
type Config[C any] struct {
	Now  func() time.Duration // the clock
	Rate func() int           // connections a second
	Open func() int64         // the number of connections that have not ended
	// List returns those that have not begun to close. It is called again when they have:
	// others may have come since the last list.
	List  func() []C
	Close func(C)
}

// Run closes connections until all have ended, or ctx is done.
func Run[C any](ctx context.Context, cfg Config[C]) {
	ticker := time.NewTicker(Step)
	defer ticker.Stop()
	begun := cfg.Now()
	var left []C
	for closed := 0; cfg.Open() > 0; {
		if len(left) == 0 {
			left = cfg.List()
		}
		n := min(dueAt(cfg.Now()-begun, cfg.Rate())-closed, len(left))
		for _, c := range left[:n] {
			cfg.Close(c)
		}
		closed += n
		left = left[n:]
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// dueAt returns how many connections should have been closed after took. The first step is due
// at once and closes at least one.
func dueAt(took time.Duration, rate int) int {
	return int((took+Step).Seconds()*float64(rate)) + 1
}
