package scenario

import (
	"context"
	"time"

	"fanfare/bench/proc"
)

var idle = Scenario{
	Name:  "idle",
	About: "what a connection costs that does nothing: each has its own user, and its heartbeat where the server has one",
	Metrics: []Metric{
		{"rss_kib", "RSS each", "KiB", 2, -1},
		{"heap_kib", "heap each", "KiB", 2, -1},
		{"goroutines", "goroutines each", "", 2, -1},
		{"kernel_kib", "kernel each*", "KiB", 2, 0},
		{"rss_mib", "RSS", "MiB", 1, -1},
		{"base_mib", "before", "MiB", 1, 0},
	},
	Run: func(ctx context.Context, e *Env) error {
		n := float64(e.Plan.Connections)
		before, err := readMemory(ctx, e)
		if err != nil {
			return err
		}
		if _, err := e.dial(ctx, pushPath); err != nil {
			return err
		}
		select {
		case <-time.After(e.Plan.Settle):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := readMemory(ctx, e)
		if err != nil {
			return err
		}
		each := func(a, b float64) float64 { return (a - b) / n }
		e.Sample.set("rss_kib", each(after.rss, before.rss)/1024)
		e.Sample.set("heap_kib", each(after.stats["heap_inuse_bytes"], before.stats["heap_inuse_bytes"])/1024)
		e.Sample.set("goroutines", each(after.stats["goroutines"], before.stats["goroutines"]))
		e.Sample.set("kernel_kib", each(after.kernel, before.kernel)/1024)
		e.Sample.set("rss_mib", after.rss/(1<<20))
		e.Sample.set("base_mib", before.rss/(1<<20))
		return e.Fleet.Faults().Err()
	},
}

// A memory is what is used at one moment, in bytes.
type memory struct {
	rss    float64
	kernel float64 // of the whole machine: both ends of each connection
	stats  map[string]float64
}

func readMemory(ctx context.Context, e *Env) (m memory, err error) {
	rss, err := proc.RSS(e.Server.PID())
	if err != nil {
		return m, err
	}
	kernel, err := proc.KernelMemory()
	if err != nil {
		return m, err
	}
	// The process first: asking the server makes it allocate.
	m.rss, m.kernel = float64(rss), float64(kernel.Slab+kernel.TCP)
	m.stats, err = e.Server.Stats(ctx)
	return m, err
}
