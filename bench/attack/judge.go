package attack

import (
	"context"
	"fmt"
	"time"
)

const (
	// Floor is the p99 that nobody is said to be hurt by, in milliseconds: twice what the healthy feel on a quiet
	// machine, whatever they felt before.
	Floor = 0.25
	// standstill is the p99 of the machine beyond which a second says nothing of the server, in milliseconds. On a
	// quiet machine it is 0.05.
	standstill = 0.25
	// enough seconds have to be quiet, of those before an attack and of those during it, to judge it.
	enoughBefore, enoughDuring = 2, 4
	// tries is how often an attack is run at the most, until it is known what to think of it.
	tries = 6
)

// slower compares the p99 of the healthy.
func (r *Result) slower() {
	if b, d := r.Before, r.During; b.Quiet < enoughBefore || d.Quiet < enoughDuring {
		r.Unsure = append(r.Unsure, fmt.Sprintf("the machine was quiet for %d of %d seconds before, and for %d of %d", b.Quiet, b.Seconds, d.Quiet, d.Seconds))
		return
	}
	for _, m := range []struct {
		what           string
		before, during float64
	}{
		{"echoes", r.Before.Echo.P99, r.During.Echo.P99},
		{"pushes", r.Before.Push.P99, r.During.Push.P99},
	} {
		if m.during > max(Floor, 2*m.before) {
			r.Missed = append(r.Missed, fmt.Sprintf("p99 of %s went from %.2f to %.2f ms", m.what, m.before, m.during))
		}
	}
}

// Judge runs an attack until it is known whether the bounds hold, and shows each try. A bound on latency is
// broken if it was missed in two tries of three: every p99 has its own p99. A try that could not be judged does
// not count; the result is that of the last one.
func Judge(ctx context.Context, a Attack, cfg Config, show func(*Result)) (*Result, error) {
	return judge(func() (*Result, error) {
		if cfg.Strict {
			calm(ctx)
		}
		return Run(ctx, a, cfg)
	}, show)
}

// calm waits until the machine wakes sleepers in time, a minute at the most.
func calm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		second, cancel := context.WithTimeout(ctx, time.Second)
		asleep := machine(second)
		cancel()
		if latency(asleep).P99 <= standstill {
			return
		}
	}
}

func judge(try func() (*Result, error), show func(*Result)) (r *Result, err error) {
	held, missed := 0, 0
	for range tries {
		if r, err = try(); err != nil {
			return nil, err
		}
		switch {
		case len(r.Broken) > 0:
		case len(r.Missed) > 0:
			if missed++; missed == 2 {
				r.Broken = r.Missed
			}
		case len(r.Unsure) == 0:
			held++
		}
		show(r)
		if len(r.Broken) > 0 || held > missed {
			break
		}
	}
	return r, nil
}
