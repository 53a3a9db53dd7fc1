package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fanfare/bench/scenario"
	"fanfare/bench/stats"
)

// WriteText writes the conditions and all tables.
func (r *Run) WriteText(w io.Writer) {
	r.WriteHead(w)
	for _, g := range r.groups() {
		fmt.Fprintln(w)
		r.writeTable(w, g)
	}
	r.WriteEnd(w)
}

// WriteEnd writes remarks on the whole run.
func (r *Run) WriteEnd(w io.Writer) {
	fmt.Fprintln(w)
	for _, line := range r.end() {
		fmt.Fprintln(w, line)
	}
}

func (r *Run) end() (lines []string) {
	measured, disturbed := 0, 0
	for _, s := range r.Samples {
		if s.Error == "" && s.Skipped == "" {
			measured++
			if s.Values[scenario.Others] > othersLimit {
				disturbed++
			}
		}
	}
	if disturbed > 0 {
		lines = append(lines, fmt.Sprintf("Other programs used more than %.1f cores in %d of %d measurements; on an idle machine fewer differences are undecided.", othersLimit, disturbed, measured))
	}
	if r.Cut != "" {
		lines = append(lines, fmt.Sprintf("This run was cut short: %s.", r.Cut))
	}
	return append(lines, fmt.Sprintf("%d measurements took %v.", measured, time.Duration(r.Took*float64(time.Second)).Round(time.Second)))
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

// WriteHead writes the conditions of the run.
func (r *Run) WriteHead(w io.Writer) {
	for _, line := range r.head() {
		fmt.Fprintln(w, line)
	}
}

func (r *Run) head() (lines []string) {
	m := r.Machine
	virtual := ""
	if m.Hypervisor {
		virtual = ", virtual"
	}
	var settings, versions []string
	for _, name := range slices.Sorted(maps.Keys(m.Sysctl)) {
		settings = append(settings, name[strings.LastIndexByte(name, '.')+1:]+" "+m.Sysctl[name])
	}
	for _, s := range r.Servers {
		if s.Version != "" {
			versions = append(versions, s.Name+" "+s.Version)
		}
	}
	lines = []string{
		fmt.Sprintf("%s, %d × %s%s, %.1f GiB, %s", m.Kernel, m.Cores, m.CPU, virtual, float64(m.Memory)/(1<<30), m.Go),
		fmt.Sprintf("%s, load %s, %d descriptors per process", r.Began.UTC().Format(time.RFC3339), m.Load, m.Files),
		strings.Join(settings, ", "),
	}
	if len(versions) > 0 {
		lines = append(lines, strings.Join(versions, ", "))
	}
	if r.Others > othersLimit {
		lines = append(lines, fmt.Sprintf("WARNING: other programs use %.1f of %d cores, which disturbs the measurement", r.Others, m.Cores))
	}
	return append(lines, fmt.Sprintf("%d rounds, servers in random order in each; medians; ± is half the distance between the extremes; × is the ratio,\n"+
		"round by round, with its 95 %% interval; it is undecided when the interval includes 1", r.Rounds))
}

// writeTable writes one group.
func (r *Run) writeTable(w io.Writer, g group) {
	table := r.table(g)
	fmt.Fprintf(w, "%s, %s: %s\n", g.scenario.Name, g.at, g.scenario.About)
	align(w, append([][]string{table.titles, table.units}, table.rows...))
	for _, remark := range table.remarks {
		fmt.Fprintln(w, " ", strings.ReplaceAll(remark, "\n", "\n    "))
	}
}

// align writes lines of cells in columns: the first and the last to the left, numbers to the right.
func align(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		text := ""
		for i, cell := range line {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || i == len(line)-1 {
				text += "  " + cell + space
			} else {
				text += "  " + space + cell
			}
		}
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
}

// A table is a group as text cells. The first column is the server, the last has remarks.
type table struct {
	titles, units []string
	rows          [][]string
	remarks       []string
}

// table returns the median of each metric and, for the first one, its spread and the ratio to the baseline.
func (r *Run) table(g group) (t table) {
	metrics := g.present()
	base, compare := g.find(r.Baseline)
	compare = compare && len(g.rows) > 1
	t.titles, t.units = []string{""}, []string{"server"}
	column := func(title, unit string) { t.titles, t.units = append(t.titles, title), append(t.units, unit) }
	for i, m := range metrics {
		column(m.Title, m.Unit)
		if i == 0 {
			column("", "±")
			if compare {
				column("× "+r.Baseline, "95 %")
			}
		}
	}
	column("", "")
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
		t.rows = append(t.rows, append(cells, strings.Join(row.notes(), "; ")))
		if row.skipped != "" {
			t.remarks = append(t.remarks, fmt.Sprintf("%s is left out: %s", row.server.Name, row.skipped))
		}
		for _, s := range row.failed {
			t.remarks = append(t.remarks, fmt.Sprintf("%s failed in round %d: %s", s.Server, s.Round+1, strings.TrimSpace(s.Error)))
		}
	}
	return t
}

// present returns the metrics that any sample has.
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
	return scenario.Grouped(s.Median, m.Decimals)
}

func spread(s stats.Summary) string {
	if s.N < 2 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", s.Spread()*100)
}

// tooWide is the ratio of the ends of an interval that is too wide to decide anything.
const tooWide = 10

// undecided reports whether the difference between two servers is inside the noise.
func undecided(r stats.Ratio) bool {
	return math.IsNaN(r.Low) || r.Low <= 1 && r.High >= 1 && r.Low < r.High || r.High > tooWide*r.Low
}

func ratio(r stats.Ratio, self bool) string {
	switch {
	case self:
		return "1"
	case math.IsNaN(r.Mean):
		return "–"
	case math.IsNaN(r.Low):
		return fmt.Sprintf("%.2f (undecided: one round)", r.Mean)
	case undecided(r):
		return fmt.Sprintf("undecided (%.2f–%.2f)", r.Low, r.High)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Mean, r.Low, r.High)
}
