package webhook

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// counters are counts since Open.
type counters struct {
	events, sent, delivered, retried, died, replayed                          atomic.Int64
	droppedBuffer, droppedFull, droppedGone, droppedTooLong, droppedMalformed atomic.Int64
	escalated, cancelled, untaken, pending                                    atomic.Int64
	failed                                                                    [failures]atomic.Int64
	full                                                                      atomic.Bool // the queue is, as it was last found
}

// EachMetric calls f for each metric, as package api's Webhooks describes.
func (s *Service) EachMetric(f func(name, help, label, value string, n float64)) {
	c := s.stats
	one := func(name, help string, n int64) { f(name, help, "", "", float64(n)) }
	one("events_total", "Events that webhooks were to be told of.", c.events.Load())
	one("sent_total", "Requests that webhooks have accepted.", c.sent.Load())
	one("delivered_total", "Events in requests that webhooks have accepted.", c.delivered.Load())
	one("retried_total", "Requests that failed and are repeated.", c.retried.Load())
	one("dead_total", "Events that became dead letters.", c.died.Load())
	one("replayed_total", "Dead letters that were queued again.", c.replayed.Load())
	for class := range failures {
		f("failed_total", "Requests that failed, by the answer or what was instead.", "class", failureNames[class], float64(c.failed[class].Load()))
	}
	for reason, n := range map[string]int64{"buffer": c.droppedBuffer.Load(), "queue_full": c.droppedFull.Load(), "gone": c.droppedGone.Load(),
		"too_long": c.droppedTooLong.Load(), "malformed": c.droppedMalformed.Load()} {
		f("dropped_total", "Events that were dropped, by the reason.", "reason", reason, float64(n))
	}
	var oldest, gone int64
	workers, lead := *s.workers.Load(), s.leading.service()
	if lead != nil {
		workers = slices.Concat(workers, *lead.workers.Load())
	}
	for _, d := range workers {
		if at := d.oldest.Load(); at != 0 && (oldest == 0 || at < oldest) {
			oldest = at
		}
		if d.gone.Load() {
			gone++
		}
	}
	age := 0.0
	if oldest != 0 {
		age = max(s.now().Sub(time.UnixMilli(oldest)), 0).Seconds()
	}
	f("queue_age_seconds", "Age of the oldest event that is not posted.", "", "", age)
	one("gone", "Webhooks that have answered 410 and get no events.", gone)
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	u, err := s.queue.usage(ctx)
	if lead != nil {
		if more, err := lead.queue.usage(ctx); err == nil {
			u.batches, u.bytes = u.batches+more.batches, u.bytes+more.bytes
		}
	}
	ready := int64(1)
	if err != nil {
		ready = 0
	}
	one("queue_ready", "Whether events can be stored.", ready)
	one("queue_batches", "Stored batches that are not posted.", u.batches)
	one("queue_bytes", "Size of the stored batches that are not posted.", u.bytes)
	one("queue_bytes_limit", "Maximum of queue_bytes.", s.cfg.MaxBytes)
	one("dead_letters", "Stored dead letters.", u.dead)
	if s.escalations == nil {
		return
	}
	one("escalated_total", "Messages that were reported because they were not acknowledged in time.", c.escalated.Load())
	one("escalations_untaken_total", "Messages that were not acknowledged in time while no webhook received message.unread.", c.untaken.Load())
	one("escalations_cancelled_total", "Escalations of messages that were acknowledged in time.", c.cancelled.Load())
	if _, count, err := s.escalations.records.state(ctx); err == nil {
		c.pending.Store(count)
	}
	one("escalations_pending", "Escalations that are not due.", c.pending.Load())
}
