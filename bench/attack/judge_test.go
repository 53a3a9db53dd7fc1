package attack

import (
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestSlower: more than doubling is missed, if enough seconds were quiet.
func TestSlower(t *testing.T) {
	for _, tt := range []struct {
		name            string
		before, during  float64
		calm, meanwhile int // seconds
		missed, unsure  bool
	}{
		{"as before", 1, 1, 3, 12, false, false},
		{"doubled", 1, 2, 3, 12, false, false},
		{"more than that", 1, 2.1, 3, 12, true, false},
		{"next to nothing", 0.01, Floor, 3, 12, false, false},
		{"a little", 0.1, Floor + 0.01, 3, 12, true, false},
		{"the machine stood still", 1, 2.1, 3, enoughDuring - 1, false, true},
		{"before", 1, 1, enoughBefore - 1, 12, false, true},
		{"now and then", 1, 2.1, enoughBefore, enoughDuring, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, what := range []func(f *Feel) *Latency{func(f *Feel) *Latency { return &f.Echo }, func(f *Feel) *Latency { return &f.Push }} {
				var r Result
				r.Before.Quiet, r.During.Quiet = tt.calm, tt.meanwhile
				what(&r.Before).P99, what(&r.During).P99 = tt.before, tt.during
				r.slower()
				if (len(r.Missed) == 1) != tt.missed || (len(r.Unsure) == 1) != tt.unsure {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// TestFeeling: what is felt while the machine stands still does not count, as long as it is quiet at times.
func TestFeeling(t *testing.T) {
	of := func(echo, push, machine float64) second {
		var s second
		for _, h := range []struct {
			to **hdrhistogram.Histogram
			ms float64
		}{{&s.echo, echo}, {&s.push, push}, {&s.machine, machine}} {
			*h.to = hdrhistogram.New(1000, 100e9, 3)
			(*h.to).RecordValue(int64(h.ms * 1e6))
		}
		return s
	}
	quiet, still := of(0.1, 0.2, 0.05), of(30, 40, 20)
	for _, tt := range []struct {
		name                string
		of                  []second
		seconds, quiet, msg int
		echo, push, machine float64
	}{
		{"nothing", nil, 0, 0, 0, 0, 0, 0},
		{"quiet", []second{quiet, quiet}, 2, 2, 2, 0.1, 0.2, 0.05},
		{"at times", []second{still, quiet, still}, 3, 1, 1, 0.1, 0.2, 0.05},
		{"never", []second{still, still}, 2, 0, 2, 30, 40, 20},
		{"a server that is slow", []second{of(30, 40, 0.05), quiet}, 2, 2, 2, 30, 40, 0.05},
		{"nothing was measured", []second{{}, quiet}, 2, 2, 1, 0.1, 0.2, 0.05},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f feeling
			for _, s := range tt.of {
				f.add(s)
			}
			got := f.feel()
			near := func(a, b float64) bool { return math.Abs(a-b) <= b/100 }
			if got.Seconds != tt.seconds || got.Quiet != tt.quiet || got.Echo.Messages != tt.msg || !near(got.Echo.P99, tt.echo) || !near(got.Push.P99, tt.push) || !near(got.Machine.P99, tt.machine) {
				t.Errorf("%+v", got)
			}
		})
	}
	if n := quiet.echo.TotalCount(); n != 1 {
		t.Errorf("what was added was changed: %d messages", n)
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
