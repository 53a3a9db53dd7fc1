package scenario

import (
	"context"

	"fanfare/bench/proc"
)

var idle = Scenario{
	Name:  "idle",
	About: "what an idle connection costs; each has its own user, and a heartbeat where the server has one",
	Own:   true,
	Metrics: []Metric{
		{"rss_kib", "RSS each", "KiB", 2, -1},
		{"heap_kib", "heap each", "KiB", 2, -1},
		{"goroutines", "goroutines each", "", 2, -1},
		{"kernel_kib", "kernel, both ends", "KiB", 2, 0},
		{"rss_mib", "RSS", "MiB", 1, -1},
		{"base_mib", "before", "MiB", 1, 0},
	},
	Processes: true,
	Run: func(ctx context.Context, e *Env) error {
		before, err := readMemory(ctx, e)
		if err != nil {
			return err
		}
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		after, err := e.settled(ctx)
		if err != nil {
			return err
		}
		n := float64(e.Case.Connections)
		each := func(key string, after, before, unit float64) { e.Sample.Set(key, (after-before)/n/unit) }
		each("kernel_kib", after.kernel, before.kernel, 1<<10)
		if e.Server.PID() != 0 {
			each("rss_kib", after.rss, before.rss, 1<<10)
			e.Sample.Set("rss_mib", after.rss/(1<<20))
			e.Sample.Set("base_mib", before.rss/(1<<20))
		}
		if heap, ok := after.stats["heap_inuse_bytes"]; ok {
			each("heap_kib", heap, before.stats["heap_inuse_bytes"], 1<<10)
		}
		if goroutines, ok := after.stats["goroutines"]; ok {
			each("goroutines", goroutines, before.stats["goroutines"], 1)
		}
		_, err = e.Fleet.Check(ctx)
		return err
	},
}

// A memory is the memory in use at one moment, in bytes.
type memory struct {
	rss    float64
	kernel float64 // of the whole machine: slab and socket buffers, for both ends of each connection
	stats  map[string]float64
}

// settled reads the memory after Plan.Settle.
func (e *Env) settled(ctx context.Context) (memory, error) {
	if err := sleep(ctx, e.Plan.Settle); err != nil {
		return memory{}, err
	}
	return readMemory(ctx, e)
}

func readMemory(ctx context.Context, e *Env) (m memory, err error) {
	// The process first: the server allocates when it is asked.
	if pid := e.Server.PID(); pid != 0 {
		rss, err := proc.TreeRSS(pid)
		if err != nil {
			return m, err
		}
		m.rss = float64(rss)
	}
	kernel, err := proc.KernelMemory()
	if err != nil {
		return m, err
	}
	m.kernel = float64(kernel.Slab + kernel.TCP)
	if e.Server.API != "" {
		m.stats, err = e.Server.Stats(ctx)
	}
	return m, err
}
