package attack

import (
	"testing"
)

// TestSlower: more than doubling is missed, but not where the machine stood still.
func TestSlower(t *testing.T) {
	const quiet = 0.05
	for _, tt := range []struct {
		name            string
		before, during  float64
		from, meanwhile float64 // of the machine
		missed, unsure  bool
	}{
		{"as before", 1, 1, quiet, quiet, false, false},
		{"doubled", 1, 2, quiet, quiet, false, false},
		{"more than that", 1, 2.1, quiet, quiet, true, false},
		{"next to nothing", 0.01, Floor, quiet, quiet, false, false},
		{"a little", 0.1, Floor + 0.01, quiet, quiet, true, false},
		{"the machine stood still", 1, 2.1, quiet, 10, false, true},
		{"before, so that it says nothing", 20, 21, 10, quiet, false, true},
		{"but it is fine all the same", 20, 0.2, 10, quiet, false, false},
		{"no worse though it stood still", 1, 2, quiet, 10, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Result
			r.Before.Machine.P99, r.During.Machine.P99 = tt.from, tt.meanwhile
			r.slower("echoes", tt.before, tt.during)
			if (len(r.Missed) > 0) != tt.missed || (len(r.Unsure) > 0) != tt.unsure {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestJudge: h is a try in which all held, m and u one in which latency was missed or not judged, b one in
// which another bound was broken.
func TestJudge(t *testing.T) {
	for _, tt := range []struct{ tries, took, verdict string }{
		{"h", "h", "held"},
		{"b", "b", "broken"},
		{"mm", "mm", "broken"},
		{"mhh", "mhh", "held"},
		{"mhm", "mhm", "broken"},
		{"mb", "mb", "broken"},
		{"uh", "uh", "held"},
		{"umuhum", "umuhum", "broken"},
		{"uuuuuuh", "uuuuuu", "unsure"},
		{"muuuuuh", "muuuuu", "unsure"},
	} {
		t.Run(tt.tries, func(t *testing.T) {
			n, shown := 0, 0
			r, err := judge(func() (*Result, error) {
				why := []string{"why"}
				r := map[byte]*Result{'h': {}, 'm': {Missed: why}, 'u': {Unsure: why}, 'b': {Broken: why}}[tt.tries[n]]
				n++
				return r, nil
			}, func(*Result) { shown++ })
			if err != nil {
				t.Fatal(err)
			}
			verdict := "held"
			switch {
			case len(r.Broken) > 0:
				verdict = "broken"
			case len(r.Missed)+len(r.Unsure) > 0:
				verdict = "unsure"
			}
			if took := tt.tries[:n]; took != tt.took || shown != n || verdict != tt.verdict {
				t.Errorf("%s behind %s, of which %d were shown", verdict, took, shown)
			}
		})
	}
}
