package scenario

import (
	"context"

	"fanfare/bench/proc"
)

var reconnect = Scenario{
	Name:  "reconnect",
	Own:   true,
	About: "all connections break, and all clients connect again, several times: what memory that leaves",
	Metrics: []Metric{
		{"rss_kib", "RSS each, at last", "KiB", 2, -1},
		{"once_kib", "after one login", "KiB", 2, -1},
		{"heap_kib", "heap each, at last", "KiB", 2, -1},
		{"rss_mib", "RSS", "MiB", 1, -1},
		{"base_mib", "before", "MiB", 1, 0},
		{"peak_once_mib", "peak, first login", "MiB", 1, -1},
		{"peak_mib", "peak", "MiB", 1, -1},
		{"logins", "logins", "", 0, 0},
	},
	Run: func(ctx context.Context, e *Env) error {
		before, err := e.settled(ctx) // so that the garbage of the start does not count
		if err != nil {
			return err
		}
		each := func(key string, after, before float64) {
			e.Sample.Set(key, (after-before)/float64(e.Case.Connections)/(1<<10))
		}
		peak := func(key string) error {
			bytes, err := proc.Peak(e.Server.PID())
			e.Sample.Set(key, float64(bytes)/(1<<20))
			return err
		}
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		if err := peak("peak_once_mib"); err != nil {
			return err
		}
		once, err := e.settled(ctx)
		if err != nil {
			return err
		}
		for range e.Plan.Storms {
			e.Fleet.Close()
			if err := e.registered(ctx, 0); err != nil {
				return err
			}
			if e.Fleet, err = e.Extra(ctx, e.Case.Connections); err != nil {
				return err
			}
			defer e.Fleet.Close()
			if _, err := e.dial(ctx, pushPath, nil); err != nil {
				return err
			}
		}
		if err := peak("peak_mib"); err != nil {
			return err
		}
		after, err := e.settled(ctx)
		if err != nil {
			return err
		}
		each("rss_kib", after.rss, before.rss)
		each("once_kib", once.rss, before.rss)
		each("heap_kib", after.stats["heap_alloc_bytes"], before.stats["heap_alloc_bytes"])
		e.Sample.Set("rss_mib", after.rss/(1<<20))
		e.Sample.Set("base_mib", before.rss/(1<<20))
		e.Sample.Set("logins", float64(e.Case.Connections*(1+e.Plan.Storms)))
		_, err = e.Fleet.Check(ctx)
		return err
	},
	Pushes: true,
}
