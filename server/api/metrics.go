package api

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/metrics"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/profile"
)

// Measured is a part of the program with metrics of its own: EachMetric calls f for each. A
// name that ends with "_total" is a counter's. label and value are empty for a metric
// without a label; the metrics of one name have one help text and one label. Names get the
// prefix "fanfare_", and those of a Config.Cluster of package server "fanfare_cluster_".
type Measured interface {
	EachMetric(f func(name, help, label, value string, n int64))
}

// newMetrics returns the handler of /metrics. To add a metric, add a field with the tags
// metric and help to server.Stats or apiFigures, and set it; for a cluster's, see Measured.
func newMetrics(a *API) fasthttp.RequestHandler {
	r := metrics.New(a.guard)
	metrics.AddStruct(r, a.figures)
	r.AddNamed(a.eachMeasured)
	r.Add(a.requests.total, a.requests.seconds)
	if hooks := a.cfg.Webhooks; hooks != nil {
		r.AddNamed(func(f func(name, help, label, value string, n float64)) {
			hooks.EachMetric(func(name, help, label, value string, n float64) { f("webhook_"+name, help, label, value, n) })
		})
	}
	return r.Handler()
}

func (a *API) metrics(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	a.prometheus(ctx)
	return nil
}

// eachMeasured calls f for each metric of Config.Measured, and of the cluster.
func (a *API) eachMeasured(f func(name, help, label, value string, n float64)) {
	for _, m := range a.cfg.Measured {
		m.EachMetric(func(name, help, label, value string, n int64) { f(name, help, label, value, float64(n)) })
	}
	degraded := a.degraded()
	for _, name := range a.partNames() {
		n := 0.
		if slices.ContainsFunc(degraded, func(d degradation) bool { return d.Part == name }) {
			n = 1
		}
		f("degraded", "1 while this part does not work, see /readyz.", "part", name, n)
	}
	if m, ok := a.limits.Cluster.(Measured); ok {
		m.EachMetric(func(name, help, label, value string, n int64) { f("cluster_"+name, help, label, value, float64(n)) })
	}
}

// requestMetrics counts the requests to the API. Every route, method and status has a counter
// from the start, so that a rate includes the first error.
type requestMetrics struct {
	total    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	byMethod map[*method]methodMetrics // immutable; nil: requests without a method of the table
}

type methodMetrics struct {
	route, method string
	byStatus      map[int]prometheus.Counter
	seconds       prometheus.Observer
}

var (
	// commonErrors are statuses that every method of the table answers.
	commonErrors = []int{400, 401, 403, 500}
	// bodyErrors are statuses that methods with a body answer.
	bodyErrors = []int{408, 413, 415, 417}
	// otherErrors are statuses of requests that have no method of the table.
	otherErrors = []int{400, 401, 403, 404, 405, 408, 431, 501}
)

func newRequestMetrics() *requestMetrics {
	m := &requestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanfare_api_requests_total",
			Help: "API requests, by route, method and status of the answer.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fanfare_api_request_seconds",
			Help: "Time from the head of an API request to its answer. For a push this includes writing the message to its receivers and, in a cluster, the answers of other nodes; for a durable message, storing it.",
			// From one push to a local session up to a slow store.
			Buckets: []float64{.0001, .0005, .0025, .01, .05, .25, 1, 5},
		}, []string{"route", "method"}),
		byMethod: make(map[*method]methodMetrics),
	}
	m.register(nil, "other", "other", otherErrors)
	for i := range routes {
		for j := range routes[i].methods {
			r, k := &routes[i], &routes[i].methods[j]
			statuses := slices.Concat([]int{200}, commonErrors, k.errors)
			if k.body {
				statuses = append(statuses, bodyErrors...)
			}
			m.register(k, r.pattern(), k.name, statuses)
		}
	}
	return m
}

func (m *requestMetrics) register(k *method, route, name string, statuses []int) {
	mm := methodMetrics{route: route, method: name, byStatus: make(map[int]prometheus.Counter)}
	for _, status := range statuses {
		mm.byStatus[status] = m.total.WithLabelValues(route, name, strconv.Itoa(status))
	}
	if k != nil && !k.long {
		mm.seconds = m.seconds.WithLabelValues(route, name)
	}
	m.byMethod[k] = mm
}

// count counts an answer. k is nil if the request has no method of the table.
func (m *requestMetrics) count(k *method, status int) {
	mm := m.byMethod[k]
	if c, ok := mm.byStatus[status]; ok {
		c.Inc()
		return
	}
	m.total.WithLabelValues(mm.route, mm.method, strconv.Itoa(status)).Inc()
}

func (m *requestMetrics) observe(k *method, d time.Duration) {
	m.byMethod[k].seconds.Observe(d.Seconds())
}

// profiles serves GET /debug/pprof/: it lists the profiles.
func (a *API) profiles(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	profile.List(ctx)
	return nil
}

// profile serves GET /debug/pprof/{profile}.
func (a *API) profile(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	return profile.Serve(ctx, in.profile, profile.Until{Quit: a.quit, Guard: func(read func()) { a.guard("profile", read) }})
}
