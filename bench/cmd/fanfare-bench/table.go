package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"fanfare/bench/scenario"
	"fanfare/bench/servers"
)

// printTable prints the median of each metric, and for the first one the spread.
func printTable(w io.Writer, s scenario.Scenario, plan scenario.Plan, specs []servers.Spec, samples []scenario.Sample) {
	fmt.Fprintf(w, "\n%s: %d connections, %d bytes\n", s.Name, plan.Connections, plan.Size)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "server\t")
	for i, m := range s.Metrics {
		fmt.Fprintf(t, "%s\t", strings.TrimSpace(m.Title+" "+m.Unit))
		if i == 0 {
			fmt.Fprint(t, "±\t")
		}
	}
	fmt.Fprintln(t, "\t")
	var remarks []string
	for _, spec := range specs {
		values := map[string][]float64{}
		var notes []string
		for _, sample := range samples {
			if sample.Server != spec.Name {
				continue
			}
			if sample.Error != "" {
				remarks = append(remarks, fmt.Sprintf("%s, round %d: %s", spec.Name, sample.Round+1, sample.Error))
				continue
			}
			for k, v := range sample.Values {
				values[k] = append(values[k], v)
			}
			for _, n := range sample.Notes {
				if !slices.Contains(notes, n) {
					notes = append(notes, n)
				}
			}
		}
		fmt.Fprintf(t, "%s\t", spec.Name)
		for i, m := range s.Metrics {
			v := values[m.Key]
			if len(v) == 0 {
				fmt.Fprint(t, "-\t")
				if i == 0 {
					fmt.Fprint(t, "-\t")
				}
				continue
			}
			slices.Sort(v)
			median := (v[len(v)/2] + v[(len(v)-1)/2]) / 2
			fmt.Fprintf(t, "%.*f\t", m.Decimals, median)
			if i == 0 {
				fmt.Fprintf(t, "%.0f%%\t", (v[len(v)-1]-v[0])/2/median*100)
			}
		}
		fmt.Fprintf(t, "%s\t\n", strings.Join(notes, ", "))
	}
	t.Flush()
	for _, r := range remarks {
		fmt.Fprintln(w, r)
	}
}
