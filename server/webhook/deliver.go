package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// linger is how long a batch waits for more events.
	linger = 25 * time.Millisecond
	// maxRejections is how often a batch may be rejected with 4xx: the webhook works, and
	// does not want it.
	maxRejections = 10
	// poll is how often the queue is read without news from the recorder, after errors.
	poll = 5 * time.Second
)

// deliverer posts the batches of one webhook, one after another.
type deliverer struct {
	// Immutable.
	s      *Service
	ctx    context.Context // of the Service, or canceled when the webhook is removed
	cancel context.CancelFunc
	kick   chan struct{} // there are batches; buffered
	done   chan struct{} // closed when run has ended

	// Atomic.
	hook   atomic.Pointer[hook] // replaced by Reconfigure
	gone   atomic.Bool          // the webhook has answered 410
	oldest atomic.Int64         // when the oldest event in progress happened, ms since 1970; 0: none is

	failed int // attempts since the last success; owned by run
}

func newDeliverer(s *Service, h *hook) *deliverer {
	d := &deliverer{s: s, kick: make(chan struct{}, 1), done: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(s.ctx)
	d.hook.Store(h)
	return d
}

func (d *deliverer) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// run is the goroutine of the webhook.
func (d *deliverer) run() {
	defer close(d.done)
	defer d.cancel()
	for d.ctx.Err() == nil {
		at, b, err := d.gather()
		switch {
		case errors.Is(err, errEmpty):
			d.oldest.Store(0)
			if d.s.ending.Load() {
				return
			}
			d.wait(poll)
			continue
		case err != nil:
			if d.s.ending.Load() || !d.s.pause(d.ctx, queueRetry) {
				return
			}
			continue
		}
		d.oldest.Store(b.oldest.UnixMilli())
		if !d.deliver(at, &b) {
			return
		}
	}
}

// wait waits for more events.
func (d *deliverer) wait(most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-d.kick:
	case <-timer.C:
	case <-d.ctx.Done():
	}
}

// gather reads stored batches and makes one of them. It waits for linger, unless the batch is
// full.
func (d *deliverer) gather() (at uint64, b batch, err error) {
	id := d.hook.Load().id
	lingered := false
	for {
		next, more, err := d.s.queue.next(d.ctx, id, at)
		switch {
		case errors.Is(err, errMalformed): // of another version, or damaged
			d.s.log.Error("malformed batch dropped", "webhook", d.hook.Load().name)
			d.s.stats.droppedMalformed.Add(1)
			if err = d.s.queue.remove(d.ctx, id, next); err != nil {
				return at, b, err
			}
		case err == nil:
			if at != 0 && !b.fits(&more) {
				return at, b, nil
			}
			b.add(&more)
			at = next
		case at == 0:
			return 0, b, err
		case lingered || d.s.ending.Load() || !errors.Is(err, errEmpty):
			return at, b, nil
		default:
			lingered = true
			d.s.pause(d.ctx, linger)
		}
	}
}

// deliver posts a batch until it is accepted or becomes a dead letter, and removes it. It
// returns false if the deliverer is to end.
func (d *deliverer) deliver(at uint64, b *batch) bool {
	s := d.s
	id, body := b.id(), b.body(d.s.cfg.Node, d.s.now())
	rejections := 0
	for attempts := 1; ; attempts++ {
		h := d.hook.Load()
		if d.gone.Load() {
			return d.repeat(func() error { return s.bury(d.ctx, h, b, at, reasonGone, attempts-1) })
		}
		out := d.post(h, id, body)
		if d.ctx.Err() != nil && !out.ok {
			return false
		}
		if out.ok {
			d.succeeded(h)
			s.stats.delivered.Add(b.count)
			return d.repeat(func() error { return s.queue.remove(d.ctx, h.id, at) })
		}
		d.fail(h, &out)
		if out.status >= 400 && out.status < 500 && !out.mayPass() {
			rejections++
		}
		reason := ""
		switch {
		case out.status == http.StatusGone:
			s.log.Error("webhook answered 410 Gone: it gets no events until a reload", "webhook", h.name)
			d.gone.Store(true)
			continue
		case rejections >= maxRejections:
			reason = fmt.Sprintf("rejected %d times: %v", rejections, out.err)
		case s.now().Sub(b.oldest) > s.cfg.MaxAge:
			reason = fmt.Sprintf("older than %v: %v", s.cfg.MaxAge, out.err)
		}
		if s.ending.Load() {
			return false
		}
		if reason != "" {
			s.log.Error("webhook events are dead letters", "webhook", h.name, "events", b.count, "reason", reason)
			if !d.repeat(func() error { return s.bury(d.ctx, h, b, at, reason, attempts) }) {
				return false
			}
		} else {
			s.stats.retried.Add(1)
		}
		if !d.rest(max(backoff(d.failed, s.random), out.retryAfter)) {
			return false
		}
		if reason != "" {
			return true
		}
	}
}

const reasonGone = "410 Gone"

// rest waits before the next attempt. It returns false if the deliverer is to end. A
// Reconfigure does not shorten it.
func (d *deliverer) rest(pause time.Duration) bool {
	until := d.s.now().Add(pause)
	for left := pause; left > 0 && d.ctx.Err() == nil && !d.s.ending.Load(); left = until.Sub(d.s.now()) {
		d.wait(left)
	}
	return d.ctx.Err() == nil && !d.s.ending.Load()
}

// repeat calls an operation of the queue until it succeeds. It returns false if the deliverer
// is to end.
func (d *deliverer) repeat(f func() error) bool {
	for {
		err := f()
		if err == nil {
			return true
		}
		if d.ctx.Err() == nil {
			d.s.log.Error("queue of webhooks failed; retrying", "webhook", d.hook.Load().name, "err", err)
		}
		if !d.s.pause(d.ctx, queueRetry) {
			return false
		}
	}
}

// fail notes an attempt that failed. The first of several is logged.
func (d *deliverer) fail(h *hook, out *outcome) {
	d.failed++
	d.s.stats.failed[out.class].Add(1)
	if d.failed == 1 {
		d.s.log.Warn("webhook failed; retrying", "webhook", h.name, "err", out.err)
	}
}

func (d *deliverer) succeeded(h *hook) {
	d.s.stats.sent.Add(1)
	if d.failed > 0 {
		d.s.log.Info("webhook works again", "webhook", h.name, "failed_attempts", d.failed)
	}
	d.failed = 0
}

// id returns the identifier of the batch: it is the same for the same events.
func (b *batch) id() string {
	_, rest, _ := bytes.Cut(b.events, []byte(`{"id":"`))
	first, _, _ := bytes.Cut(rest, []byte(`"`))
	return fmt.Sprintf("msg_%s_%d", first, b.count)
}
