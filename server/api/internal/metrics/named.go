package metrics

import "github.com/prometheus/client_golang/prometheus"

// AddNamed exports the metrics for which each calls f whenever they are collected. Names get
// the prefix "fanfare_". label and value are empty for a metric without a label.
func (r *Registry) AddNamed(each func(f func(name, help, label, value string, n float64))) {
	r.Add(named{r, each})
}

type named struct {
	registry *Registry
	each     func(f func(name, help, label, value string, n float64))
}

// Describe implements prometheus.Collector. It describes nothing, because which metrics
// there are may change, and to ask for them may take a while.
func (named) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c named) Collect(ch chan<- prometheus.Metric) {
	c.registry.collect(ch, func(ch chan<- prometheus.Metric) {
		c.each(func(name, help, label, value string, n float64) {
			var values []string
			if label != "" {
				values = []string{value}
			}
			ch <- prometheus.MustNewConstMetric(newDesc(name, help, label), kindOf(name), n, values...)
		})
	})
}
