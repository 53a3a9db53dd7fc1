package webhook

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server"
	"fanfare/server/internal/field"
)

// Service reports events to webhooks. Open returns one.
type Service struct {
	// Immutable after Open.
	cfg      Config
	log      *slog.Logger
	now      func() time.Time // the one clock; timers only wait
	random   func(n int64) int64
	boot     string // begins the identifiers of events of this process
	queue    queue
	shared   bool            // the queue is that of the cluster: another node goes on when this one ends
	ctx      context.Context // done when Close may not wait any longer
	cancel   context.CancelFunc
	commands chan func() // run by the recorder
	quit     chan struct{}
	recorded chan struct{} // closed when the recorder has ended

	intake  intake
	kinds   atomic.Uint32 // a bit for each server.EventKind that a webhook wants
	secrets atomic.Pointer[[]Secret]
	ending  atomic.Bool // Close was called: deliverers end when they have nothing to do
	stats   *counters

	escalations *escalations // nil: without Config.Store

	background sync.WaitGroup
	leading    leading
	workers    atomic.Pointer[[]*deliverer] // replaced by the recorder; what it points at is immutable

	// Owned by the recorder.
	presence *presence
	online   *onlineFile      // nil: without Dir
	dropped  map[string]int64 // events not reported yet as dropped, by webhook
	count    uint64           // of events
	fileErr  string           // of online, as it was last logged
}

var _ server.Observer = (*Service)(nil)

// Open opens the queue and starts posting what is in it. An outside NATS may be away.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	return open(ctx, cfg, time.Now, randomInt64)
}

// newService returns a Service without a queue.
func newService(cfg Config, now func() time.Time, random func(int64) int64, stats *counters) *Service {
	var boot [6]byte
	rand.Read(boot[:])
	s := &Service{cfg: cfg, log: cfg.Logger, now: now, random: random, boot: hex.EncodeToString(boot[:]),
		commands: make(chan func()), quit: make(chan struct{}), recorded: make(chan struct{}), stats: stats,
		presence: newPresence(cfg.OfflineGrace), dropped: make(map[string]int64)}
	s.intake.kick = make(chan struct{}, 1)
	s.secrets.Store(&cfg.Secrets)
	s.workers.Store(new([]*deliverer))
	return s
}

func open(ctx context.Context, cfg Config, now func() time.Time, random func(int64) int64) (*Service, error) {
	hooks, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	s := newService(cfg, now, random, new(counters))
	s.leading.cfg = cfg
	var before *onlineState
	switch {
	case cfg.Dir != "":
		local, err := openEmbedded(ctx, &cfg)
		if err != nil {
			return nil, err
		}
		s.queue = local
		s.escalations = s.escalationsOf(local, localPoll)
		if s.online, before, err = openOnline(cfg.Dir); err != nil {
			local.close()
			return nil, err
		}
	case cfg.URL != "":
		q, err := openOutside(&cfg)
		if err != nil {
			return nil, err
		}
		s.queue = q
		s.escalations = s.escalationsOf(q, escalatePoll)
	default:
		s.queue = newMemoryQueue(cfg.MaxBytes)
		s.log.Warn("events for webhooks are queued in memory: what is not posted when the process ends is lost")
	}
	s.run(hooks, before)
	return s, nil
}

// run starts the goroutines of a Service that has a queue.
func (s *Service) run(hooks []*hook, before *onlineState) {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.setHooks(hooks)
	s.restore(before)
	s.background.Go(s.record)
	s.background.Go(s.sweep)
	if s.escalations != nil && (s.shared || s.cfg.URL == "") { // in a cluster the node that leads
		ctx, cancel := context.WithCancel(s.ctx)
		s.background.Go(func() { s.escalations.run(ctx) })
		s.background.Go(func() {
			select {
			case <-s.quit:
			case <-s.ctx.Done():
			}
			cancel()
		})
	}
}

// escalationsOf returns the escalations in the JetStream of a queue, nil without a store.
func (s *Service) escalationsOf(q *jetStreamQueue, poll time.Duration) *escalations {
	if s.cfg.Store == nil {
		return nil
	}
	return &escalations{service: s, records: escalationRecords{q}, store: s.cfg.Store, poll: poll, kick: make(chan struct{}, 1)}
}

// Wants implements server.Observer.
func (s *Service) Wants(k server.EventKind) bool { return s.kinds.Load()>>k&1 != 0 }

// Observe implements server.Observer.
func (s *Service) Observe(e server.Event) { s.intake.put(e) }

// Reconfigure changes the webhooks and the secrets: Hooks, CA, InsecureHTTP and Secrets of cfg
// take effect. What is queued for a webhook that is removed becomes a dead letter; one that
// has answered 410 is tried again. The error is that of Config.Validate; then nothing is
// changed.
func (s *Service) Reconfigure(cfg Config) error {
	next := s.cfg
	next.Hooks, next.CA, next.InsecureHTTP, next.Secrets = cfg.Hooks, cfg.CA, cfg.InsecureHTTP, cfg.Secrets
	hooks, err := next.validate()
	if err != nil {
		return err
	}
	done := make(chan struct{})
	select {
	case s.commands <- func() { s.secrets.Store(&next.Secrets); s.setHooks(hooks); close(done) }:
		<-done
		if s.escalations != nil {
			s.escalations.warnOfWaiting()
		}
		return s.leading.reconfigure(next)
	case <-s.quit:
		return field.Wrapf("webhook: %w", context.Canceled)
	}
}

// setHooks starts and ends deliverers. It is called by Open and then by the recorder.
func (s *Service) setHooks(hooks []*hook) {
	var kinds uint32
	var next []*deliverer
	kept := make(map[*deliverer]bool)
	for _, h := range hooks {
		kinds |= h.kinds
		d := s.worker(h.id)
		if d == nil {
			d = newDeliverer(s, h)
			s.background.Go(d.run)
		}
		d.hook.Store(h)
		d.gone.Store(false)
		d.wake()
		kept[d] = true
		next = append(next, d)
	}
	former := *s.workers.Swap(&next)
	s.kinds.Store(kinds)
	for _, d := range former {
		if kept[d] {
			continue
		}
		d.cancel()
		s.background.Go(func() {
			<-d.done
			s.buryAll(d.hook.Load(), "the webhook was removed")
		})
	}
}

// worker returns the deliverer of a webhook, nil if it is not configured.
func (s *Service) worker(id string) *deliverer {
	for _, d := range *s.workers.Load() {
		if d.hook.Load().id == id {
			return d
		}
	}
	return nil
}

// sweep makes dead letters of what a former process has queued for other webhooks.
func (s *Service) sweep() {
	for {
		ids, err := s.queue.hooks(s.ctx)
		if err == nil {
			for _, id := range ids {
				if s.worker(id) == nil {
					s.buryAll(&hook{id: id, name: id}, "the webhook was removed")
				}
			}
			return
		}
		if !s.pause(s.ctx, queueRetry) {
			return
		}
	}
}

// buryAll makes dead letters of all batches of a webhook that is not configured.
func (s *Service) buryAll(h *hook, reason string) {
	buried := 0
	defer func() {
		if buried > 0 {
			s.log.Warn("webhook removed, its events are dead letters", "webhook", h.name, "batches", buried)
		}
	}()
	for s.worker(h.id) == nil {
		at, b, err := s.queue.next(s.ctx, h.id, 0)
		switch {
		case errors.Is(err, errEmpty):
			return
		case errors.Is(err, errMalformed):
			err = s.queue.remove(s.ctx, h.id, at)
		case err == nil:
			buried++
			err = s.bury(s.ctx, h, &b, at, reason, 0)
		}
		if err != nil && !s.pause(s.ctx, queueRetry) {
			return
		}
	}
}

// bury makes a dead letter of a batch, which ends at a position of the queue.
func (s *Service) bury(ctx context.Context, h *hook, b *batch, at uint64, reason string, attempts int) error {
	err := s.queue.bury(ctx, newLetter(h, b, reason, attempts, s.now()))
	if errors.Is(err, errTooLong) || errors.Is(err, errMalformed) {
		s.log.Error("dead letter dropped", "webhook", h.name, "events", b.count, "err", err)
		s.stats.droppedTooLong.Add(b.count)
		err = nil
	}
	if err != nil {
		return err
	}
	s.stats.died.Add(b.count)
	return s.queue.remove(ctx, h.id, at)
}

// queueRetry is the pause after an error of the queue.
const queueRetry = time.Second

// pause waits, and returns false if ctx ended.
func (s *Service) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close ends the service, after the server's Shutdown: it stores what was observed, and posts
// what is in the queue while webhooks accept it, until ctx is done. The rest stays in the
// queue or, if that is in memory, is lost and logged.
func (s *Service) Close(ctx context.Context) {
	s.Resign()
	s.intake.close()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	close(s.quit)
	<-s.recorded
	s.ending.Store(true)
	for _, d := range *s.workers.Load() {
		d.wake()
		select {
		case <-d.done:
		case <-s.ctx.Done():
		}
	}
	s.cancel()
	s.background.Wait()
	if q, ok := s.queue.(*memoryQueue); ok {
		if u, _ := q.usage(ctx); u.batches+u.dead > 0 {
			s.log.Warn("events for webhooks are lost", "batches", u.batches, "dead_letters", u.dead)
		}
	}
	s.queue.close()
	if s.online != nil {
		s.online.close()
	}
}
