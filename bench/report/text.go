package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fanfare/bench/scenario"
	"fanfare/bench/stats"
)

// WriteText writes the machine and then every table.
func (r *Run) WriteText(w io.Writer) {
	r.writeHead(w)
	for _, g := range r.groups() {
		fmt.Fprintln(w)
		r.writeTable(w, g)
	}
	if r.Cut != "" {
		fmt.Fprintf(w, "\nThis run was cut short: %s.\n", r.Cut)
	}
}

// WriteScenario writes the tables of one scenario.
func (r *Run) WriteScenario(w io.Writer, name string) {
	for _, g := range r.groups() {
		if g.scenario.Name == name {
			fmt.Fprintln(w)
			r.writeTable(w, g)
		}
	}
}

// WriteHead writes the circumstances of the run.
func (r *Run) WriteHead(w io.Writer) { r.writeHead(w) }

func (r *Run) writeHead(w io.Writer) {
	m := r.Machine
	virtual := ""
	if m.Hypervisor {
		virtual = ", virtual"
	}
	fmt.Fprintf(w, "%s, %d × %s%s, %.1f GiB, %s\n", m.Kernel, m.Cores, m.CPU, virtual, float64(m.Memory)/(1<<30), m.Go)
	fmt.Fprintf(w, "%s, load %s, %d descriptors per process\n", r.Began.Format(time.RFC3339), m.Load, m.Files)
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(m.Sysctl)) {
		settings = append(settings, name[strings.LastIndexByte(name, '.')+1:]+" "+m.Sysctl[name])
	}
	fmt.Fprintln(w, strings.Join(settings, ", "))
	var versions []string
	for _, s := range r.Servers {
		if s.Version != "" {
			versions = append(versions, s.Name+" "+s.Version)
		}
	}
	if len(versions) > 0 {
		fmt.Fprintln(w, strings.Join(versions, ", "))
	}
	fmt.Fprintf(w, "%d rounds, servers in random order in each; medians; ± is half the distance between the extremes\n", r.Rounds)
}

// writeTable writes one group: the median of each metric, for the first its spread and the ratio to the
// baseline, round by round.
func (r *Run) writeTable(w io.Writer, g group) {
	fmt.Fprintf(w, "%s, %s: %s\n", g.scenario.Name, g.at, g.scenario.About)
	metrics := g.present()
	base, compare := g.find(r.Baseline)
	compare = compare && len(g.rows) > 1
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells []string) { fmt.Fprintf(t, "  %s\t\n", strings.Join(cells, "\t")) }
	head, unit := []string{""}, []string{"server"}
	for i, m := range metrics {
		head, unit = append(head, m.Title), append(unit, m.Unit)
		if i == 0 {
			head, unit = append(head, ""), append(unit, "±")
			if compare {
				head, unit = append(head, "× "+r.Baseline), append(unit, "95 %")
			}
		}
	}
	line(head)
	line(unit)
	for _, row := range g.rows {
		cells := []string{row.server.Name}
		for i, m := range metrics {
			s := stats.Summarize(row.values(m.Key))
			cells = append(cells, number(s, m))
			if i == 0 {
				cells = append(cells, spread(s))
				if compare {
					cells = append(cells, ratio(row.against(base, m.Key), row.server.Name == r.Baseline))
				}
			}
		}
		line(append(cells, strings.Join(row.notes(), "; ")))
	}
	t.Flush()
	for _, row := range g.rows {
		if row.skipped != "" {
			fmt.Fprintf(w, "  %s was left out: %s\n", row.server.Name, row.skipped)
		}
		for _, s := range row.failed {
			fmt.Fprintf(w, "  %s failed in round %d: %s\n", s.Server, s.Round+1, strings.ReplaceAll(strings.TrimSpace(s.Error), "\n", "\n    "))
		}
	}
}

// present leaves out the metrics that no sample has.
func (g group) present() (metrics []scenario.Metric) {
	for i, m := range g.scenario.Metrics {
		if i == 0 || slices.ContainsFunc(g.rows, func(w row) bool { return len(w.values(m.Key)) > 0 }) {
			metrics = append(metrics, m)
		}
	}
	return metrics
}

func number(s stats.Summary, m scenario.Metric) string {
	if s.N == 0 {
		return "–"
	}
	return grouped(s.Median, m.Decimals)
}

func spread(s stats.Summary) string {
	if s.N < 2 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", s.Spread()*100)
}

// tooWide is the width, as a ratio, of an interval that says nothing.
const tooWide = 10

func ratio(r stats.Ratio, self bool) string {
	switch {
	case self:
		return "1"
	case math.IsNaN(r.Mean):
		return "–"
	case math.IsNaN(r.Low):
		return fmt.Sprintf("%.2f", r.Mean)
	case r.High > tooWide*r.Low:
		return fmt.Sprintf("%.2f (unsure)", r.Mean)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Mean, r.Low, r.High)
}

// grouped writes a number with a comma between thousands.
func grouped(v float64, decimals int) string {
	s := fmt.Sprintf("%.*f", decimals, math.Abs(v))
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if v < 0 && strings.Trim(whole, "0.,") != "" {
		whole = "-" + whole
	}
	return whole
}
