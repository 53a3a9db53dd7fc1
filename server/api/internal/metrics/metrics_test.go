package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"fanfare/server/stats"
)

type figures struct {
	*inner

	Version  string                     `info:"version"`
	Node     string                     `info:"node"`
	Open     int                        `metric:"open" help:"Open things."`
	Seen     int64                      `metric:"seen_total" help:"Things seen."`
	ByKind   map[string]int64           `metric:"kinds_total,kind" help:"Things by kind."`
	Wait     stats.Histogram            `metric:"wait_seconds" help:"Waits."`
	Waits    map[string]stats.Histogram `metric:"waits_seconds,kind" help:"Waits by kind."`
	Store    *store                     `metric:"store_"`
	Absent   *store                     `metric:"absent_"`
	Untagged int
}

type inner struct {
	Inner int `metric:"inner" help:"A field of an embedded struct."`
}

type store struct {
	Ready bool `metric:"ready" help:"1 while it is ready."`
}

// unguarded is the guard of a test in which nothing panics.
func unguarded(_ string, f func()) bool { f(); return true }

func scrape(r *Registry) (status int, body string) {
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/metrics")
	ctx.Request.Header.SetHost("localhost")
	r.Handler()(&ctx)
	return ctx.Response.StatusCode(), string(ctx.Response.Body())
}

// Each type of field becomes a metric of its type, and what is absent none.
func TestStruct(t *testing.T) {
	r := New(unguarded)
	h := stats.Histogram{Count: 3, Seconds: 2.5, Bounds: []time.Duration{time.Second}, Counts: []int64{2, 1}}
	AddStruct(r, func() *figures {
		return &figures{inner: &inner{9}, Version: "v1", Node: "n", Open: 3, Seen: 4, ByKind: map[string]int64{"a": 5}, Wait: h,
			Waits: map[string]stats.Histogram{"b": h}, Store: &store{true}, Untagged: 6}
	})
	status, body := scrape(r)
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	for _, want := range []string{
		"# HELP fanfare_open Open things.", "# TYPE fanfare_open gauge", "fanfare_open 3", "fanfare_inner 9",
		"# TYPE fanfare_seen_total counter", "fanfare_seen_total 4", `fanfare_kinds_total{kind="a"} 5`,
		`fanfare_wait_seconds_bucket{le="1"} 2`, `fanfare_wait_seconds_bucket{le="+Inf"} 3`, "fanfare_wait_seconds_sum 2.5",
		`fanfare_waits_seconds_count{kind="b"} 3`, "fanfare_store_ready 1", `fanfare_info{node="n",version="v1"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %q in %s", want, body)
		}
	}
	for _, not := range []string{"absent_", "ntagged", "process_network_"} {
		if strings.Contains(body, not) {
			t.Errorf("%q is exported", not)
		}
	}
}

// Named metrics may differ from scrape to scrape.
func TestNamed(t *testing.T) {
	r := New(unguarded)
	name := "first_total"
	r.AddNamed(func(f func(name, help, label, value string, n float64)) {
		f(name, "Help.", "", "", 1)
		f("labelled", "Help.", "key", "value", 2)
	})
	for _, name = range []string{"first_total", "second_total"} {
		_, body := scrape(r)
		for _, want := range []string{"fanfare_" + name + " 1\n", `fanfare_labelled{key="value"} 2` + "\n"} {
			if !strings.Contains(body, want) {
				t.Errorf("no %q in %s", want, body)
			}
		}
	}
}

// panickyCollector panics when it is scraped.
type panickyCollector struct{ prometheus.Collector }

func (panickyCollector) Collect(chan<- prometheus.Metric) { panic("panic in Collect") }

// After a panic, and for a field that cannot be a metric, the scrape fails instead of
// leaving out metrics in silence.
func TestPanic(t *testing.T) {
	for name, add := range map[string]func(*Registry){
		"struct": func(r *Registry) { AddStruct(r, func() *figures { panic("no figures") }) },
		"named": func(r *Registry) {
			r.AddNamed(func(func(name, help, label, value string, n float64)) { panic("no metrics") })
		},
		"process": func(r *Registry) { // in a goroutine of its own
			r.Add(withoutNetwork{r, panickyCollector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})}})
		},
		"type": func(r *Registry) {
			AddStruct(r, func() *struct {
				Name string `metric:"name" help:"Name."`
			} {
				return new(struct {
					Name string `metric:"name" help:"Name."`
				})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			panics := 0
			r := New(func(_ string, f func()) (ok bool) {
				defer func() {
					if recover() != nil {
						panics++
						ok = false
					}
				}()
				f()
				return true
			})
			add(r)
			if status, body := scrape(r); status != 500 || panics != 1 {
				t.Errorf("status %d after %d panics: %s", status, panics, body)
			}
		})
	}
}
