package api

import (
	"reflect"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"fanfare/server"
)

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
