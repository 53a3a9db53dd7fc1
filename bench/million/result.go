package million

import (
	"encoding/json"
	"fmt"
	"io"

	"fanfare/bench/scenario"
)

// WriteText writes the result for people.
func (r *Result) WriteText(w io.Writer) {
	n := float64(r.Connections)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-28s %s\n", what, fmt.Sprintf(format, args...))
	}
	where := ""
	if r.Inside != "" {
		where = ", inside " + r.Inside
	}
	fmt.Fprintf(w, "%s connections to one %s process%s\n", scenario.Grouped(n, 0), r.Server, where)
	fmt.Fprintf(w, "%s, %d × %s, %.1f GiB, %d descriptors per process\n", r.Machine.Kernel, r.Machine.Cores, r.Machine.CPU, float64(r.Machine.Memory)/(1<<30), r.Machine.Files)
	line("connected in", "%.0f s, %s a second", r.Connect, scenario.Grouped(n/r.Connect, 0))
	if r.Stored > 0 {
		line("stored messages received", "%s", scenario.Grouped(float64(r.Stored), 0))
	}
	line("RSS of the server", "%s MiB, %s bytes each", scenario.Grouped(float64(r.RSS)/(1<<20), 0), scenario.Grouped(r.RSSEach, 0))
	line("heap", "%s bytes each", scenario.Grouped(r.HeapEach, 0))
	line("kernel slab, both ends", "%s bytes each", scenario.Grouped(r.SlabEach, 0))
	line("goroutines", "%.0f", r.Goroutines)
	line("one broadcast to all", "%.1f s to the last, %.1f s at the median, %.1f µs of CPU each", r.Broadcast, r.BroadcastP50, r.BroadcastCPU/n*1e6)
	line("pushes to random users", "%s, %.1f ms at the median, %.1f ms at 99 %%", scenario.Grouped(float64(r.Pushes), 0), r.PushP50*1e3, r.PushP99*1e3)
	line("received and checked", "%s messages, none lost, duplicated, late or foreign", scenario.Grouped(float64(r.Received), 0))
	line("heartbeats answered", "%s, every %.0f s", scenario.Grouped(float64(r.Pings), 0), r.Ping)
	line("RSS at the end", "%s MiB", scenario.Grouped(float64(r.RSSAfter)/(1<<20), 0))
	line("took", "%.0f s, %.0f s of the server's CPU", r.Took, r.CPU)
}

// WriteJSON writes the result as JSON.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}
