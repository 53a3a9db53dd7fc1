package api

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"fanfare/server"
)

// newMetrics makes the handler of /metrics. It has a registry of its own, so that
// a program that embeds several servers, or has metrics itself, is not in the way.
func newMetrics(a *API) fasthttp.RequestHandler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(
		&collector{a},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
}

func (a *API) metrics(ctx *fasthttp.RequestCtx, _ names) *problem {
	a.prometheus(ctx)
	return nil
}

// collector reads the server's counters when it is asked for them, so that they
// are counted once.
type collector struct{ api *API }

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fanfare_"+name, help, labels, nil)
}

// numbers have one value, labelled ones one for each value of their label.
var (
	numbers = []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value func(f *figures) float64
	}{
		{newDesc("sessions", "Open sessions."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Sessions) }},
		{newDesc("connections", "Open connections, those in their handshake included."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Connections) }},
		{newDesc("users", "Users with a session."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Users) }},
		{newDesc("topics", "Topics with a follower."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Topics) }},
		{newDesc("nodes", "Nodes that share a NATS, this one included."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Nodes) }},
		{newDesc("workers", "Goroutines that serve ready connections."), prometheus.GaugeValue, func(f *figures) float64 { return float64(f.Workers) }},
		{newDesc("handshakes_total", "Handshakes completed."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Handshakes) }},
		{newDesc("aborted_handshakes_total", "Connections that ended before their request was complete."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Aborted) }},
		{newDesc("plain_requests_total", "Ordinary HTTP requests on the public listener."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Fallback) }},
		{newDesc("received_total", "Messages from clients."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Received) }},
		{newDesc("pings_total", "Pings sent."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Pings) }},
		{newDesc("missed_heartbeats_total", "Sessions ended because they stayed silent."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Dead) }},
		{newDesc("forced_closes_total", "Closing handshakes that took too long."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Forced) }},
		{newDesc("hook_panics_total", "Panics in hooks."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Panics) }},
		{newDesc("broken_writes_total", "Connections whose peer was gone when something was written."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Broken) }},
		{newDesc("stale_events_total", "Events for connections that were gone."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Stale) }},
		{newDesc("accept_pauses_total", "Times that accepting stopped for want of descriptors or memory."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Starved) }},
		{newDesc("workers_overrun_total", "Workers started because a batch took too long."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Overrun) }},
		{newDesc("workers_blocked_total", "Times that workers were started because hooks block."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Blocked) }},
		{newDesc("turns_yielded_total", "Times that a connection had more to do than one turn may take, so that others came first."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Yielded) }},
		{newDesc("workers_saturated_total", "Times that the bound on workers was reached."), prometheus.CounterValue, func(f *figures) float64 { return float64(f.Saturated) }},
	}
	labelled = []struct {
		desc  *prometheus.Desc
		value func(f *figures) map[string]int64
	}{
		{newDesc("delivered_total", "Messages written or queued to a connection.", "kind"), func(f *figures) map[string]int64 { return f.Delivered }},
		{newDesc("dropped_total", "Messages that did not reach a connection.", "reason"), func(f *figures) map[string]int64 { return f.Dropped }},
		{newDesc("closes_total", "Sessions that ended, by close code (RFC 6455, 7.4).", "code"), func(f *figures) map[string]int64 { return f.Closes }},
		{newDesc("refused_total", "Connections and handshakes refused.", "status"), func(f *figures) map[string]int64 { return f.Rejected }},
		{newDesc("limited_total", "Connections, handshakes and sessions that a limit stopped.", "limit"), func(f *figures) map[string]int64 { return f.Limited }},
	}
	inboxNumbers = []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value func(f *inboxFigures) float64
	}{
		{newDesc("inbox_ready", "1 if messages can be stored."), prometheus.GaugeValue, func(f *inboxFigures) float64 {
			if f.Ready {
				return 1
			}
			return 0
		}},
		{newDesc("inbox_appended_total", "Messages stored."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Appended) }},
		{newDesc("inbox_duplicates_total", "Messages that were stored already."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Duplicates) }},
		{newDesc("inbox_refused_total", "Messages refused at a limit."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Rejected) }},
		{newDesc("inbox_dropped_total", "Messages dropped at a user's limit in bytes."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Evicted) }},
		{newDesc("inbox_read_total", "Messages read from the store."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Read) }},
		{newDesc("inbox_acked_total", "Positions of users stored."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Acked) }},
		{newDesc("inbox_unavailable_total", "Operations that the store did not answer, or refused."), prometheus.CounterValue, func(f *inboxFigures) float64 { return float64(f.Unavailable) }},
	}
	waitDesc = newDesc("batch_seconds", "From the poller to the last turn of a batch: an upper bound of what a ready connection waited.")
	infoDesc = newDesc("info", "Always 1.", "version", "transport")
)

// Describe is part of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range numbers {
		ch <- m.desc
	}
	for _, m := range labelled {
		ch <- m.desc
	}
	for _, m := range inboxNumbers {
		ch <- m.desc
	}
	ch <- waitDesc
	ch <- infoDesc
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	f := c.api.figures()
	for _, m := range numbers {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(f))
	}
	for _, m := range labelled {
		for label, n := range m.value(f) {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(n), label)
		}
	}
	if f.Inbox != nil {
		for _, m := range inboxNumbers {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(f.Inbox))
		}
	}
	var count uint64
	buckets := make(map[float64]uint64)
	for i, n := range f.Waits {
		count += uint64(n)
		if i < len(f.Waits)-1 { // the last one has no bound
			buckets[server.WaitBound(i).Seconds()] = count
		}
	}
	ch <- prometheus.MustNewConstHistogram(waitDesc, count, f.WaitSeconds, buckets)
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, f.Version, f.Transport)
}
