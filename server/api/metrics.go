package api

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"fanfare/server"
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
			var labels []string
			if label != "" {
				labels = []string{label}
			}
			c.cluster[name] = newDesc("cluster_"+name, help, labels...)
		})
	}
	return c
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fanfare_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for i := range numbers {
		ch <- numbers[i].desc
	}
	for i := range labeled {
		ch <- labeled[i].desc
	}
	for _, d := range c.cluster {
		ch <- d
	}
	ch <- batchDesc
	ch <- infoDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	f := c.api.figures()
	for i := range numbers {
		m := &numbers[i]
		if v, ok := m.value(f); ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
		}
	}
	for i := range labeled {
		m := &labeled[i]
		counts := m.value(f)
		for _, known := range m.known {
			if _, ok := counts[known]; !ok {
				ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, 0, known)
			}
		}
		for value, n := range counts {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(n), value)
		}
	}
	if m, ok := c.api.limits.Cluster.(Measured); ok {
		m.EachMetric(func(name, _, label, value string, n int64) {
			kind, labels := prometheus.GaugeValue, []string(nil)
			if strings.HasSuffix(name, "_total") {
				kind = prometheus.CounterValue
			}
			if label != "" {
				labels = []string{value}
			}
			ch <- prometheus.MustNewConstMetric(c.cluster[name], kind, float64(n), labels...)
		})
	}
	var count uint64
	buckets := make(map[float64]uint64)
	for i, n := range f.Waits {
		count += uint64(n)
		if i < len(f.Waits)-1 { // the last one has no bound
			buckets[server.WaitBound(i).Seconds()] = count
		}
	}
	ch <- prometheus.MustNewConstHistogram(batchDesc, count, f.WaitSeconds, buckets)
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, f.Version, f.Transport, f.Node)
}
