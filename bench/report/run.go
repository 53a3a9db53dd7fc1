package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"fanfare/bench/proc"
	"fanfare/bench/scenario"
	"fanfare/bench/stats"
)

// A Run is everything that one run of the program measured, and the conditions.
type Run struct {
	Began    time.Time         `json:"began"`
	Took     float64           `json:"took"` // seconds
	Command  []string          `json:"command"`
	Machine  proc.Machine      `json:"machine"`
	Plan     scenario.Plan     `json:"plan"`
	Rounds   int               `json:"rounds"`
	Baseline string            `json:"baseline"` // the server that the others are compared with
	Servers  []Server          `json:"servers"`
	Samples  []scenario.Sample `json:"samples"`
	// Others is how many cores other programs used in the second before the run.
	Others float64 `json:"others"`
	// Cut says why the run ended early.
	Cut string `json:"cut,omitempty"`
}

// A Server is one of the compared servers.
type Server struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Version string `json:"version,omitempty"`
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(r io.Reader) (*Run, error) {
	run := new(Run)
	if err := json.NewDecoder(r).Decode(run); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return run, nil
}

// WriteJSON writes the whole run.
func (r *Run) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Failed reports whether any sample has an error.
func (r *Run) Failed() bool {
	return slices.ContainsFunc(r.Samples, func(s scenario.Sample) bool { return s.Error != "" })
}

// A group is the samples of one scenario in one case.
type group struct {
	scenario scenario.Scenario
	at       scenario.Case
	rows     []row
}

// A row is the samples of one server in a group.
type row struct {
	server  Server
	samples []scenario.Sample // that succeeded
	failed  []scenario.Sample
	skipped string // why there are none
}

// groups returns the samples by scenario, case and server, in the order of the plan.
func (r *Run) groups() (groups []group) {
	for _, s := range scenario.All() {
		var cases []scenario.Case
		for _, sample := range r.Samples {
			if sample.Scenario == s.Name && !slices.Contains(cases, sample.Case) {
				cases = append(cases, sample.Case)
			}
		}
		for _, c := range cases {
			g := group{scenario: s, at: c}
			for _, server := range r.Servers {
				if row := r.row(s.Name, c, server); len(row.samples)+len(row.failed) > 0 || row.skipped != "" {
					g.rows = append(g.rows, row)
				}
			}
			groups = append(groups, g)
		}
	}
	return groups
}

func (r *Run) row(name string, c scenario.Case, server Server) row {
	w := row{server: server}
	for _, sample := range r.Samples {
		switch {
		case sample.Scenario != name || sample.Case != c || sample.Server != server.Name:
		case sample.Skipped != "":
			w.skipped = sample.Skipped
		case sample.Error != "":
			w.failed = append(w.failed, sample)
		default:
			w.samples = append(w.samples, sample)
		}
	}
	return w
}

// find returns the row of a server.
func (g group) find(name string) (row, bool) {
	i := slices.IndexFunc(g.rows, func(w row) bool { return w.server.Name == name })
	if i < 0 {
		return row{}, false
	}
	return g.rows[i], true
}

// values returns a metric of all samples that have it.
func (w row) values(key string) (values []float64) {
	for _, s := range w.samples {
		if v, ok := s.Values[key]; ok {
			values = append(values, v)
		}
	}
	return values
}

// against compares a metric with another row's, round by round.
func (w row) against(other row, key string) stats.Ratio {
	var a, b []float64
	for _, mine := range w.samples {
		for _, theirs := range other.samples {
			va, ok1 := mine.Values[key]
			vb, ok2 := theirs.Values[key]
			if mine.Round == theirs.Round && ok1 && ok2 {
				a, b = append(a, va), append(b, vb)
			}
		}
	}
	return stats.Paired(a, b)
}

// Above these values a table has a remark.
const (
	clientBound = 0.95 // of a core: a client has one thread, so it is the bottleneck
	othersLimit = 0.1  // cores
	lagLimit    = 1    // milliseconds: more than the scheduling of a full machine
	heldLimit   = 5000 // milliseconds: half the limit of a write; an undisturbed broadcast never takes so long
)

// notes returns remarks on what may distort the numbers of a row.
func (w row) notes() (notes []string) {
	worst := func(key string) (most float64, over func(limit float64) int) {
		v := w.values(key)
		if len(v) > 0 {
			most = slices.Max(v)
		}
		return most, func(limit float64) (n int) {
			for _, x := range v {
				if x > limit {
					n++
				}
			}
			return n
		}
	}
	if _, over := worst(scenario.ClientBound); over(clientBound) > 0 {
		notes = append(notes, fmt.Sprintf("client at its limit in %d of %d", over(clientBound), len(w.samples)))
	}
	if most, over := worst(scenario.Others); over(othersLimit) > 0 {
		notes = append(notes, fmt.Sprintf("other programs used up to %.1f cores", most))
	}
	if most, over := worst(scenario.Stolen); over(othersLimit) > 0 {
		notes = append(notes, fmt.Sprintf("the hypervisor took up to %.1f cores", most))
	}
	if most, over := worst(scenario.Lag); over(lagLimit) > 0 {
		notes = append(notes, fmt.Sprintf("posts up to %.0f ms late", most))
	}
	if most, over := worst(scenario.Longest); over(heldLimit) > 0 {
		notes = append(notes, fmt.Sprintf("stuck receivers delayed a broadcast by %.0f s or more in %d of %d", math.Floor(most/1e3), over(heldLimit), len(w.samples)))
	}
	return notes
}
