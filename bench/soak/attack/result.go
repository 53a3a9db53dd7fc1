package attack

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A Result is what one or several runs of an attack measured.
type Result struct {
	Attack    string   `json:"attack"`
	Load      string   `json:"load"`
	Tries     int      `json:"tries"`
	Before    []Second `json:"before"` // before the attack
	During    []Second `json:"during"`
	Rest      int64    `json:"rest"`      // RSS of the attacked server before the attack, in bytes
	Peak      int64    `json:"peak"`      // its largest RSS, in bytes
	Bound     int64    `json:"bound"`     // how much it may grow, in bytes
	Kernel    int64    `json:"kernel"`    // largest sum of all socket buffers of the machine, in bytes
	CPU       float64  `json:"cpu"`       // cores that the attacked server used
	Attackers float64  `json:"attackers"` // cores that the attackers used
	Lost      int      `json:"lost"`      // healthy connections
	Outcome   Outcome  `json:"outcome"`
	Notes     []string `json:"notes,omitempty"`
	Slow      []string `json:"slow,omitempty"`   // why the attack did not reach its strength
	Broken    []string `json:"broken,omitempty"` // bounds that do not depend on time

	Latency []Comparison `json:"latency,omitempty"` // set by Compare
}

// Merge adds the result of another run of the same attack: more seconds to judge.
func (r *Result) Merge(next *Result) {
	r.Tries += next.Tries
	r.Before, r.During = append(r.Before, next.Before...), append(r.During, next.During...)
	r.Rest, r.Peak, r.Kernel = min(r.Rest, next.Rest), max(r.Peak, next.Peak), max(r.Kernel, next.Kernel)
	r.CPU, r.Attackers = max(r.CPU, next.CPU), max(r.Attackers, next.Attackers)
	r.Lost += next.Lost
	for what, n := range next.Outcome {
		r.Outcome[what] += n
	}
	r.Notes, r.Slow, r.Broken = append(r.Notes, next.Notes...), append(r.Slow, next.Slow...), append(r.Broken, next.Broken...)
}

// Compare judges the latency and returns the verdict on the whole attack. An attack that reached its full strength in
// no try is undecided.
func (r *Result) Compare() Verdict {
	r.Latency = Compare(r.Before, r.During)
	verdict := Held
	if len(r.Slow) >= r.Tries {
		verdict = Undecided
	}
	for _, c := range r.Latency {
		switch {
		case c.Verdict == Exceeded:
			return Exceeded
		case c.Verdict == Undecided:
			verdict = Undecided
		}
	}
	return verdict
}

// WriteHead explains the table.
func WriteHead(w io.Writer, cfg Config) {
	fmt.Fprintf(w, "Two servers with the same flags run side by side, each with %d healthy clients: an echo and a push a second for\n"+
		"every client, %v before each attack and at least %v during it. One of them is attacked. The ratio compares its p99\n"+
		"with that of the other, the twin, in the same seconds, with a 95 %% interval, less the difference of the two before\n"+
		"the attack. It may be %d; a p99 of %v ms is good enough in any case. An interval on both sides of %[4]d is undecided.\n"+
		"An attack that did not hold is repeated while there is time, and judged by all runs. Latencies in ms. Memory is the\n"+
		"attacked server's RSS in MiB: before, largest, and the limit. Kernel is all socket\n"+
		"buffers of the machine, in MiB. Cores are those used by the attacked server and by the attackers.\n\n",
		cfg.Clients, cfg.Before, cfg.During, Bound, Floor)
	if !Prioritized() {
		fmt.Fprintf(w, "Without real-time priority, other work on the machine makes more attacks undecided.\n\n")
	}
	fmt.Fprintf(w, "%-16s %-30s %-30s %-16s %6s %11s %5s  %s\n", "attack", "echo p99: attacked twin ratio", "push p99: attacked twin ratio",
		"memory", "kernel", "cores", "lost", "verdict")
}

// Write writes the result as a row, with details in the following lines.
func (r *Result) Write(w io.Writer) {
	verdict := string(r.Compare())
	if len(r.Broken) > 0 {
		verdict = "BROKEN"
	}
	if r.Tries > 1 {
		verdict += fmt.Sprintf(" (%d tries)", r.Tries)
	}
	cells := make([]string, len(r.Latency))
	for i, c := range r.Latency {
		cells[i] = fmt.Sprintf("%.2f %.2f %.2f (%.2f–%.2f)", c.Attacked, c.Twin, c.Ratio, c.Low, c.High)
	}
	fmt.Fprintf(w, "%-16s %-30s %-30s %-16s %6d %11s %5d  %s\n", r.Attack, cells[0], cells[1],
		fmt.Sprintf("%d %d (%d)", r.Rest>>20, r.Peak>>20, (r.Rest+r.Bound)>>20), r.Kernel>>20, fmt.Sprintf("%.2f, %.2f", r.CPU, r.Attackers), r.Lost, verdict)
	fmt.Fprintf(w, "    %s\n", r.Load)
	var ends []string
	for _, what := range slices.Sorted(maps.Keys(r.Outcome)) {
		ends = append(ends, fmt.Sprintf("%s %d", what, r.Outcome[what]))
	}
	fmt.Fprintf(w, "    attackers: %s\n", strings.Join(ends, "; "))
	for _, note := range slices.Concat(r.Notes, r.Slow) {
		fmt.Fprintf(w, "    %s\n", note)
	}
	for _, c := range r.Latency {
		if c.Verdict != Held && len(r.During) > 0 && c.Seconds > 0 {
			fmt.Fprintf(w, "    %s: %s\n", c.Verdict, c)
		}
	}
	for _, b := range r.Broken {
		fmt.Fprintf(w, "    BROKEN: %s\n", b)
	}
}
