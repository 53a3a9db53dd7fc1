package api

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// Measured is implemented by a Config.Cluster of package server that has metrics of its
// own: EachMetric calls f for each. A name that ends with "_total" is a counter's. label
// and value are empty for a metric without a label; the metrics of one name have one help
// text and one label. Names get the prefix "fanfare_cluster_".
type Measured interface {
	EachMetric(f func(name, help, label, value string, n int64))
}

// newMetrics returns the handler of /metrics. It has a registry of its own, so that several
// servers in one program, and the program's own metrics, do not collide.
func newMetrics(a *API) fasthttp.RequestHandler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(
		newCollector(a),
		a.requests.total,
		a.requests.seconds,
		collectors.NewGoCollector(),
		withoutNetwork{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
	)
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
}

func (a *API) metrics(ctx *fasthttp.RequestCtx, _ names) *problem {
	a.prometheus(ctx)
	return nil
}

// withoutNetwork leaves out process_network_*: they count the traffic of every process in
// the network namespace.
type withoutNetwork struct{ prometheus.Collector }

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

func (c withoutNetwork) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		c.Collector.Collect(all)
	}()
	for m := range all {
		if !isNetwork(m.Desc()) {
			ch <- m
		}
	}
}

func isNetwork(d *prometheus.Desc) bool { return strings.Contains(d.String(), `"process_network_`) }

// collector reads the counters of the server when it is asked for them, so that they are
// counted once.
type collector struct {
	api     *API
	cluster map[string]*prometheus.Desc // of Measured, by name
}

func newCollector(a *API) *collector {
	c := &collector{api: a, cluster: make(map[string]*prometheus.Desc)}
	if m, ok := a.limits.Cluster.(Measured); ok {
		m.EachMetric(func(name, help, label, _ string, _ int64) {
			c.cluster[name] = newDesc("cluster_"+name, help, label)
		})
	}
	return c
}

// newDesc describes a metric. Labels may be empty.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "" })
	return prometheus.NewDesc("fanfare_"+name, help, labels, nil)
}

// kindOfMetric returns the type of a metric, which its name tells.
func kindOfMetric(name string) prometheus.ValueType {
	if strings.HasSuffix(name, "_total") {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

var infoDesc = newDesc("info", "Always 1.", "version", "transport", "node")

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range measures {
		ch <- m.desc
	}
	for _, d := range c.cluster {
		ch <- d
	}
	ch <- infoDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	f := c.api.figures()
	for _, m := range measures {
		m.collect(f, ch)
	}
	if m, ok := c.api.limits.Cluster.(Measured); ok {
		m.EachMetric(func(name, _, label, value string, n int64) {
			var values []string
			if label != "" {
				values = []string{value}
			}
			ch <- prometheus.MustNewConstMetric(c.cluster[name], kindOfMetric(name), float64(n), values...)
		})
	}
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, f.Version, f.Transport, f.Node)
}
