package api

import (
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"fanfare/server"
)

// Measured is a part of the program with metrics of its own: EachMetric calls f for each. A
// name that ends with "_total" is a counter's. label and value are empty for a metric
// without a label; the metrics of one name have one help text and one label. Names get the
// prefix "fanfare_", and those of a Config.Cluster of package server "fanfare_cluster_".
type Measured interface {
	EachMetric(f func(name, help, label, value string, n int64))
}

// newMetrics returns the handler of /metrics. It has a registry of its own, so that several
// servers in one program, and the program's own metrics, do not collide. To add a metric,
// add a field with the tags metric and help to server.Stats; for a cluster's, see Measured.
func newMetrics(a *API) fasthttp.RequestHandler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(
		collector{a},
		dynamic{a, a.eachMeasured},
		a.requests.total,
		a.requests.seconds,
		collectors.NewGoCollector(),
		withoutNetwork{a, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
	)
	if a.cfg.Webhooks != nil {
		reg.MustRegister(dynamic{a, func(f func(name, help, label, value string, n float64)) {
			a.cfg.Webhooks.EachMetric(func(name, help, label, value string, n float64) { f("webhook_"+name, help, label, value, n) })
		}})
	}
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
}

func (a *API) metrics(ctx *fasthttp.RequestCtx, _ names) *problem {
	a.prometheus(ctx)
	return nil
}

// withoutNetwork leaves out process_network_*: they count the traffic of every process in
// the network namespace.
type withoutNetwork struct {
	api *API
	prometheus.Collector
}

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
		c.api.collect(all, c.Collector.Collect)
	}()
	for m := range all {
		if !isNetwork(m.Desc()) {
			ch <- m
		}
	}
}

// collect calls f. After a panic, which is logged and counted, the answer to the scrape is
// 500.
func (a *API) collect(ch chan<- prometheus.Metric, f func(chan<- prometheus.Metric)) {
	if !a.guard("prometheus.Collector", func() { f(ch) }) {
		ch <- prometheus.NewInvalidMetric(panicDesc, errPanic)
	}
}

var panicDesc = newDesc("panic", "A panic while metrics were collected.")

func isNetwork(d *prometheus.Desc) bool { return strings.Contains(d.String(), `"process_network_`) }

// collector reads the counters of the server when it is asked for them, so that they are
// counted once.
type collector struct{ api *API }

// newDesc describes a metric. Labels may be empty.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "" })
	return prometheus.NewDesc("fanfare_"+name, help, labels, nil)
}

// kindOfMetric returns the type of a metric, which follows from its name.
func kindOfMetric(name string) prometheus.ValueType {
	if strings.HasSuffix(name, "_total") {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

var infoDesc = newDesc("info", "Always 1.", "version", "transport", "node")

// dynamic collects metrics that a part of the program names itself.
type dynamic struct {
	api  *API
	each func(f func(name, help, label, value string, n float64))
}

// Describe implements prometheus.Collector. It describes nothing, because which metrics
// there are may change, and to ask for them may take a while.
func (dynamic) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c dynamic) Collect(ch chan<- prometheus.Metric) {
	c.api.collect(ch, func(ch chan<- prometheus.Metric) {
		c.each(func(name, help, label, value string, n float64) {
			var values []string
			if label != "" {
				values = []string{value}
			}
			ch <- prometheus.MustNewConstMetric(newDesc(name, help, label), kindOfMetric(name), n, values...)
		})
	})
}

// eachMeasured calls f for each metric of Config.Measured, and of the cluster.
func (a *API) eachMeasured(f func(name, help, label, value string, n float64)) {
	for _, m := range a.cfg.Measured {
		m.EachMetric(func(name, help, label, value string, n int64) { f(name, help, label, value, float64(n)) })
	}
	if m, ok := a.limits.Cluster.(Measured); ok {
		m.EachMetric(func(name, help, label, value string, n int64) { f("cluster_"+name, help, label, value, float64(n)) })
	}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range measures {
		ch <- m.desc
	}
	ch <- infoDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) { c.api.collect(ch, c.collect) }

func (c collector) collect(ch chan<- prometheus.Metric) {
	f := c.api.figures()
	for _, m := range measures {
		m.collect(f, ch)
	}
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, f.Version, f.Transport, f.Node)
}

// measure exports a field of figures as a metric. Its tags name it: to add a metric, add a
// field with the tags metric and help to server.Stats, or to apiFigures, and set it.
type measure struct {
	field []int // index of the field in figures, for reflect
	kind  prometheus.ValueType
	desc  *prometheus.Desc
}

// measures are the fields of figures that have the tag metric.
var measures = findMeasures(reflect.TypeFor[figures](), "", nil)

// findMeasures returns the measures in a struct. The tag metric of a field that is a struct
// itself is a prefix of the names in it.
func findMeasures(in reflect.Type, prefix string, path []int) (found []measure) {
	for i := range in.NumField() {
		f := in.Field(i)
		field := append(path[:len(path):len(path)], i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		tag, tagged := f.Tag.Lookup("metric")
		switch name, label, _ := strings.Cut(tag, ","); {
		case inner.Kind() == reflect.Struct && inner != reflect.TypeFor[server.Histogram]():
			found = append(found, findMeasures(inner, prefix+name, field)...)
		case tagged:
			found = append(found, measure{field, kindOfMetric(name), newDesc(prefix+name, f.Tag.Get("help"), label)})
		}
	}
	return found
}

// collect sends the metrics of one field. There are none where a struct around it is
// missing, as on a server without a store.
func (m *measure) collect(f *figures, ch chan<- prometheus.Metric) {
	v, err := reflect.ValueOf(f).Elem().FieldByIndexErr(m.field)
	if err != nil {
		return
	}
	switch v := v.Interface().(type) {
	case int:
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(v))
	case int64:
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(v))
	case bool:
		n := 0.0
		if v {
			n = 1
		}
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, n)
	case map[string]int64:
		for value, n := range v {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(n), value)
		}
	case server.Histogram:
		ch <- histogram(m.desc, v)
	case map[string]server.Histogram:
		for value, h := range v {
			ch <- histogram(m.desc, h, value)
		}
	default:
		panic("BUG: api: a field of figures cannot be a metric: " + m.desc.String())
	}
}

func histogram(desc *prometheus.Desc, h server.Histogram, labels ...string) prometheus.Metric {
	below, buckets := uint64(0), make(map[float64]uint64)
	for i, bound := range h.Bounds {
		below += uint64(h.Counts[i])
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(desc, uint64(h.Count), h.Seconds, buckets, labels...)
}
