package fault

import (
	"context"
	"path/filepath"
	"time"
)

const (
	// calmTime is the time limit for all processes to become ready after the faults.
	calmTime = 40 * time.Second
	// settleTime is the time limit for an accepted message to arrive.
	settleTime = 15 * time.Second
)

// judge ends all faults, waits until what was accepted has arrived, and checks the history.
func (w *world) judge(ctx context.Context, tell func(format string, args ...any)) (*Result, error) {
	if err := w.restore(ctx, calmTime); err != nil {
		return nil, err
	}
	tell("all processes are ready again")
	close(w.quiet)
	r := &Result{Network: w.net.what()}
	if r.Stuck = w.settle(settleTime); len(r.Stuck) > 0 {
		tell("%d messages are missing: all devices reconnect", len(r.Stuck))
		w.reconnect()
		w.settle(settleTime)
	}
	w.close()
	r.Verdict = *w.history.check()
	r.Connects, r.Jumps, r.Retries = w.connects.Load(), w.jumps.Load(), w.retries.Load()
	r.Alarms = w.alarms()
	if r.Verdict.Err() != nil || len(r.Stuck) > 0 {
		if err := w.history.dump(filepath.Join(w.dir, "history.log")); err != nil {
			return r, err
		}
	}
	return r, ctx.Err()
}
