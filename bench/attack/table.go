package attack

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteHead writes what the columns are.
func WriteHead(w io.Writer, cfg Config) {
	fmt.Fprintf(w, "%d healthy clients, an echo and a push each a second; %v before each attack and %v during it.\n"+
		"Latencies are p50/p99 in ms, before -> during. Memory is RSS of the server in MiB, before -> peak (the most that\n"+
		"was allowed); kernel: all socket buffers of the machine. Cores are those that server and attackers used.\n"+
		"Machine is the p99 of how late sleeping threads are woken, in ms: what happens here without any server. Seconds in\n"+
		"which it is more than %v are left out, and quiet says how many are left. The p99 of echoes and pushes may double, and\n"+
		"be %v in any case. If it was missed, or too few seconds were quiet, an attack is tried again: two tries of three\n"+
		"decide.\n\n", cfg.Clients, cfg.Before, cfg.During, standstill, Floor)
	if !Prioritized() {
		fmt.Fprintf(w, "Nobody runs at real-time priority here, so other work on the machine is measured too.\n\n")
	}
	fmt.Fprintf(w, "%-17s %-26s %-26s %-14s %-14s %-16s %6s %11s %4s  %s\n", "attack", "echoes", "pushes", "machine", "quiet", "memory", "kernel", "cores", "lost", "verdict")
}

// Write writes the result as a row, and what it was about below it.
func (r *Result) Write(w io.Writer) {
	verdict := "held"
	switch {
	case len(r.Broken) > 0:
		verdict = "BROKEN"
	case len(r.Missed) > 0:
		verdict = "missed"
	case len(r.Unsure) > 0:
		verdict = "unsure"
	}
	change := func(b, d Latency) string { return fmt.Sprintf("%.2f/%.2f -> %.2f/%.2f", b.P50, b.P99, d.P50, d.P99) }
	fmt.Fprintf(w, "%-17s %-26s %-26s %-14s %-14s %-16s %6d %11s %4d  %s\n", r.Attack, change(r.Before.Echo, r.During.Echo), change(r.Before.Push, r.During.Push),
		fmt.Sprintf("%.2f -> %.2f", r.Before.Machine.P99, r.During.Machine.P99), fmt.Sprintf("%d/%d, %d/%d", r.Before.Quiet, r.Before.Seconds, r.During.Quiet, r.During.Seconds), fmt.Sprintf("%d -> %d (%d)", r.Rest>>20, r.Peak>>20, (r.Rest+r.Bound)>>20), r.Kernel>>20, fmt.Sprintf("%.2f, %.2f", r.CPU, r.Mob), r.Lost, verdict)
	fmt.Fprintf(w, "    %s\n", r.Load)
	var became []string
	for _, what := range slices.Sorted(maps.Keys(r.Outcome)) {
		became = append(became, fmt.Sprintf("%s %d", what, r.Outcome[what]))
	}
	fmt.Fprintf(w, "    attackers: %s\n", strings.Join(became, "; "))
	for _, lines := range []struct {
		what string
		of   []string
	}{{"", r.Notes}, {"not judged: ", r.Unsure}, {"missed: ", r.Missed}, {"BROKEN: ", r.Broken}} {
		for _, line := range lines.of {
			fmt.Fprintf(w, "    %s%s\n", lines.what, line)
		}
	}
}
