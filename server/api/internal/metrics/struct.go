package metrics

import (
	"reflect"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"fanfare/server/stats"
)

// AddStruct exports the tagged fields of what read returns.
func AddStruct[T any](r *Registry, read func() *T) {
	c := structCollector[T]{registry: r, read: read}
	c.find(reflect.TypeFor[T](), "", nil)
	if len(c.info) > 0 {
		c.infoDesc = newDesc("info", "Always 1.", c.infoLabels...)
	}
	r.Add(c)
}

type structCollector[T any] struct {
	registry *Registry
	read     func() *T
	measures []measure

	infoDesc   *prometheus.Desc // nil: no field has the tag info
	infoLabels []string
	info       [][]int // index of the field with each label, for reflect
}

// measure exports a field as a metric.
type measure struct {
	field []int // index of the field, for reflect
	kind  prometheus.ValueType
	desc  *prometheus.Desc
}

// find adds the tagged fields of a struct. The tag metric of a field that is a struct itself
// is a prefix of the names in it.
func (c *structCollector[T]) find(in reflect.Type, prefix string, path []int) {
	for i := range in.NumField() {
		f := in.Field(i)
		field := append(path[:len(path):len(path)], i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if label := f.Tag.Get("info"); label != "" {
			c.infoLabels, c.info = append(c.infoLabels, label), append(c.info, field)
		}
		tag, tagged := f.Tag.Lookup("metric")
		switch name, label, _ := strings.Cut(tag, ","); {
		case inner.Kind() == reflect.Struct && inner != reflect.TypeFor[stats.Histogram]():
			c.find(inner, prefix+name, field)
		case tagged:
			c.measures = append(c.measures, measure{field, kindOf(name), newDesc(prefix+name, f.Tag.Get("help"), label)})
		}
	}
}

// Describe implements prometheus.Collector.
func (c structCollector[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.measures {
		ch <- m.desc
	}
	if c.infoDesc != nil {
		ch <- c.infoDesc
	}
}

// Collect implements prometheus.Collector.
func (c structCollector[T]) Collect(ch chan<- prometheus.Metric) { c.registry.collect(ch, c.collect) }

func (c structCollector[T]) collect(ch chan<- prometheus.Metric) {
	v := reflect.ValueOf(c.read()).Elem()
	for _, m := range c.measures {
		m.collect(v, ch)
	}
	if c.infoDesc == nil {
		return
	}
	var values []string
	for _, field := range c.info {
		values = append(values, v.FieldByIndex(field).String())
	}
	ch <- prometheus.MustNewConstMetric(c.infoDesc, prometheus.GaugeValue, 1, values...)
}

// collect sends the metrics of one field. There are none where a struct around it is
// missing, as on a server without a store.
func (m *measure) collect(of reflect.Value, ch chan<- prometheus.Metric) {
	v, err := of.FieldByIndexErr(m.field)
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
	case stats.Histogram:
		ch <- histogram(m.desc, v)
	case map[string]stats.Histogram:
		for value, h := range v {
			ch <- histogram(m.desc, h, value)
		}
	default:
		panic("BUG: metrics: a field of this type cannot be a metric: " + m.desc.String())
	}
}

func histogram(desc *prometheus.Desc, h stats.Histogram, labels ...string) prometheus.Metric {
	below, buckets := uint64(0), make(map[float64]uint64)
	for i, bound := range h.Bounds {
		below += uint64(h.Counts[i])
		buckets[bound.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(desc, uint64(h.Count), h.Seconds, buckets, labels...)
}
