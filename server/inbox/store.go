package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/bloom"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// Store implements store.Store on JetStream. Open returns one.
type Store struct {
	// Immutable after Open.
	cfg   Config
	log   *slog.Logger
	now   func() time.Time // the one clock; timers and tickers only wait
	local *embedded        // nil: the NATS is an outside one

	link     atomic.Pointer[link] // nil: an embedded server was not started yet
	history  [subject.Kinds]history
	confirms [subject.Kinds]confirmer
	tails    tails
	ends     ends
	filled   bloom.Filter // embedded: names that may have messages or positions
	acks     acks
	stats    counters
	recover  atomic.Pointer[func()] // of OnRecover

	health     atomic.Pointer[health]     // replaced when it ended
	unopened   atomic.Pointer[error]      // why an embedded store is not open yet
	full       atomic.Pointer[error]      // why an embedded store accepts nothing new
	prepared   atomic.Bool                // the streams are there
	replicated atomic.Bool                // and have copies
	limited    [subject.Kinds]atomic.Bool // the stream got the limits of cfg
	clocks     [subject.Kinds]storeClock  // of an outside NATS
	// othersLimits holds the other node's limits that were last logged for a stream.
	othersLimits [subject.Kinds]atomic.Pointer[string]

	trouble  atomic.Pointer[string]      // why the streams are not there
	away     atomic.Pointer[string]      // why NATS is not connected
	tooLow   atomic.Int64                // max_payload of NATS that was logged
	answered atomic.Int64                // when NATS last answered a write, ns since 1970
	bytes    [subject.Kinds]atomic.Int64 // that are stored, as far as it was asked for

	// Owned by the goroutine of runLocal, and by Open and Close.
	silent       silence    // of the embedded server
	startErr     string     // why it does not start, as it was last logged
	marking      chan error // gets the result of the markAccount in progress; nil: none is
	marked       account.Mark
	markedSize   int64
	snapshotSize int64 // of the account

	kick       chan struct{} // the background goroutine has something to do
	quit       chan struct{}
	hung       chan struct{} // closed when the embedded server hangs
	background sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// link is the connection to NATS.
type link struct {
	nc *nats.Conn
	js jetstream.JetStream
}

type counters struct {
	appended, duplicates, rejected, evicted, read, acked, unavailable atomic.Int64
}

// Open starts the embedded NATS server, or connects to an outside one, and creates
// the streams that do not exist. ctx bounds the start of an embedded server.
//
// An embedded store whose disk is full opens, and so does one whose outside NATS
// cannot be reached: Ready returns the reason until the store can be used.
func Open(ctx context.Context, cfg Config) (*Store, error) { return openWithClock(ctx, cfg, time.Now) }

// openWithClock is Open with the clock now.
func openWithClock(ctx context.Context, cfg Config, now func() time.Time) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger, now: now, quit: make(chan struct{}), hung: make(chan struct{}), kick: make(chan struct{}, 1)}
	s.tails.init()
	s.acks.init()
	s.health.Store(newHealth())
	if cfg.Dir != "" {
		s.local = newEmbedded(&cfg)
		s.warnOfMaxPayload(maxPayload)
		opened, err := true, s.openLocal(ctx)
		if err != nil {
			if !errors.Is(err, store.ErrDiskFull) {
				s.local.release()
				return nil, err
			}
			opened = false
			s.unopened.Store(&err)
		}
		s.background.Go(func() { s.runLocal(opened) })
	} else {
		if err := s.connect(); err != nil {
			return nil, err
		}
		first := s.verifyStreams(ctx)
		s.background.Go(func() { s.runOutside(first) })
	}
	s.background.Go(s.runAcks)
	return s, nil
}

// Close stores the acknowledgements that are pending and ends the store.
func (s *Store) Close() {
	close(s.quit)
	s.background.Wait()
	if s.local != nil {
		s.closeLocal()
		return
	}
	s.link.Load().nc.Close()
}

// OnRecover sets a function that is called when the store is available again after
// an outage. It must not block.
func (s *Store) OnRecover(f func()) { s.recover.Store(&f) }

func (s *Store) recovered() {
	if f := s.recover.Load(); f != nil {
		(*f)()
	}
}

// wake makes the background goroutine look at the state of the store.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Ready returns nil if the store can be used, as far as it knows without using it,
// and otherwise the reason.
func (s *Store) Ready() error {
	if err := s.usable(); err != nil {
		return err
	}
	if full := s.full.Load(); full != nil {
		return *full
	}
	return nil
}

// usable returns what Ready returns, except that a full disk is not an error: reads and
// purges need no space.
func (s *Store) usable() error {
	if unopened := s.unopened.Load(); unopened != nil {
		return *unopened
	}
	if err := s.sick(); err != nil {
		return err
	}
	l := s.link.Load()
	switch {
	case l == nil || !l.nc.IsConnected():
		return s.noConnection()
	case !s.prepared.Load():
		if why := s.trouble.Load(); why != nil {
			return fmt.Errorf("%w: %s", store.ErrUnavailable, *why)
		}
		return fmt.Errorf("%w: the streams are being verified", store.ErrUnavailable)
	case s.local != nil:
		if ns := s.local.server(); ns == nil || !ns.JetStreamEnabled() {
			return fmt.Errorf("%w: JetStream has stopped: %s", store.ErrUnavailable, s.local.log.worst())
		}
	}
	return nil
}

// Stats returns counters since Open.
func (s *Store) Stats() store.Stats {
	c := &s.stats
	return store.Stats{
		Appended:    c.appended.Load(),
		Duplicates:  c.duplicates.Load(),
		Rejected:    c.rejected.Load(),
		Evicted:     c.evicted.Load(),
		Read:        c.read.Load(),
		Acked:       c.acked.Load(),
		Unavailable: c.unavailable.Load(),

		InboxBytes: s.bytes[subject.Inbox].Load(), MaxInboxBytes: s.cfg.Disk,
		TopicBytes: s.bytes[subject.Topic].Load(), MaxTopicBytes: s.cfg.Disk,
		PositionBytes: s.bytes[subject.Ack].Load(), MaxPositionBytes: s.cfg.Positions,
	}
}

// request sends a request to JetStream and returns the answer.
func (s *Store) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	l := s.link.Load()
	if l == nil {
		return nil, s.noConnection()
	}
	return l.nc.RequestWithContext(ctx, subject, data)
}
