package metrics

import (
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// Registry has the metrics of one program.
type Registry struct {
	reg   *prometheus.Registry
	guard func(where string, f func()) bool
}

// New returns a Registry with the metrics of the Go runtime and the process. guard calls f,
// and recovers, logs and counts a panic in it; it reports whether f returned.
func New(guard func(where string, f func()) bool) *Registry {
	r := &Registry{prometheus.NewPedanticRegistry(), guard}
	r.Add(collectors.NewGoCollector(), withoutNetwork{r, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})})
	return r
}

// Add exports what collectors collect. They must not panic.
func (r *Registry) Add(all ...prometheus.Collector) { r.reg.MustRegister(all...) }

// Handler returns the handler of /metrics.
func (r *Registry) Handler() fasthttp.RequestHandler {
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{}))
}

// collect calls f. After a panic the answer to the scrape is 500.
func (r *Registry) collect(ch chan<- prometheus.Metric, f func(chan<- prometheus.Metric)) {
	if !r.guard("prometheus.Collector", func() { f(ch) }) {
		ch <- prometheus.NewInvalidMetric(panicDesc, errPanic)
	}
}

var (
	panicDesc = newDesc("panic", "A panic while metrics were collected.")
	errPanic  = errors.New("metrics: panic while metrics were collected; the log has the details")
)

// newDesc describes a metric. Labels may be empty.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "" })
	return prometheus.NewDesc("fanfare_"+name, help, labels, nil)
}

// kindOf returns the type of a metric, which follows from its name.
func kindOf(name string) prometheus.ValueType {
	if strings.HasSuffix(name, "_total") {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// withoutNetwork leaves out process_network_*.
type withoutNetwork struct {
	registry *Registry
	prometheus.Collector
}

// Describe implements prometheus.Collector.
func (c withoutNetwork) Describe(ch chan<- *prometheus.Desc) {
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		c.Collector.Describe(all)
	}()
	for d := range all {
		if !isNetwork(d) {
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c withoutNetwork) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		c.registry.collect(all, c.Collector.Collect)
	}()
	for m := range all {
		if !isNetwork(m.Desc()) {
			ch <- m
		}
	}
}

func isNetwork(d *prometheus.Desc) bool { return strings.Contains(d.String(), `"process_network_`) }
