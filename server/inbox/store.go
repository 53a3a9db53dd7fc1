package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store keeps messages until they are read. Open makes one. It is safe for
// concurrent use.
type Store struct {
	// Immutable after Open.
	cfg   Config
	log   *slog.Logger
	local *embedded // nil: the NATS is an outside one
	nc    *nats.Conn
	js    jetstream.JetStream

	tails ledger
	acks  acks
	stats counters
	again atomic.Pointer[func()] // of OnMissed

	health     atomic.Pointer[health] // replaced when it ended
	prepared   atomic.Bool            // the streams are there
	replicated atomic.Bool            // and have copies
	trouble    atomic.Pointer[string] // why they are not there
	away       atomic.Pointer[string] // why there is no connection
	rare       rarely

	quit       chan struct{}
	background sync.WaitGroup
}

type counters struct {
	appended, duplicates, refused, dropped, read, acked, unavailable atomic.Int64
}

// Stats are counts since Open.
type Stats struct {
	Appended    int64 `json:"appended"`
	Duplicates  int64 `json:"duplicates"`  // Appends with an ID that was there
	Refused     int64 `json:"refused"`     // with ErrFull
	Dropped     int64 `json:"dropped"`     // purged to make room for a user's newer ones
	Read        int64 `json:"read"`        // messages
	Acked       int64 `json:"acked"`       // positions that were stored
	Unavailable int64 `json:"unavailable"` // operations that failed
}

// Stats returns them.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{c.appended.Load(), c.duplicates.Load(), c.refused.Load(), c.dropped.Load(),
		c.read.Load(), c.acked.Load(), c.unavailable.Load()}
}

// Open starts the embedded NATS server, or connects to an outside one, and makes
// the streams where there are none. ctx bounds it. An outside NATS may come and go,
// now and later: while it is away, everything says ErrUnavailable.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger, quit: make(chan struct{})}
	s.tails.init()
	s.acks.init()
	s.health.Store(newHealth())
	if err := s.open(ctx); err != nil {
		if s.nc != nil {
			s.nc.Close()
		}
		if s.local != nil {
			s.local.stop()
			if isDiskFull(err.Error() + s.local.log.worst()) {
				return nil, fmt.Errorf("%w: %w", s.diskFull(), err)
			}
		}
		return nil, err
	}
	s.background.Go(s.runAcks)
	if s.local != nil {
		s.background.Go(s.runHeal)
		s.background.Go(s.runWitness)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.cfg.Dir != "" {
		if s.local, err = embed(&s.cfg); err != nil {
			return err
		}
	}
	if s.nc, err = s.connect(); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(s.cfg.Timeout)); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if s.local == nil {
		if s.prepare(ctx) != nil {
			s.background.Go(s.runPrepare)
		}
		return nil
	}
	if err := s.checkWitness(ctx); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	// From now on the streams are missed if they are not there.
	if err := s.write(s.testify(false)); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return nil
}

// Close ends the store. Acknowledgements that wait are stored before.
func (s *Store) Close() {
	close(s.quit)
	s.background.Wait()
	if s.local == nil {
		s.nc.Close()
		return
	}
	last := s.testify(true)
	s.nc.Close()
	s.local.stop() // which flushes all files
	if err := s.write(last); err != nil {
		s.log.Error("the witness of the inbox cannot be written", "err", err)
	}
}

// OnMissed sets what is called when messages between nodes may have been missed:
// when an outside NATS, or another node, is there again. It must not block.
func (s *Store) OnMissed(f func()) { s.again.Store(&f) }

// Embedded tells whether the store is in this process, so that nobody else is
// behind it.
func (s *Store) Embedded() bool { return s.local != nil }

// Ready returns nil if the store can be used now, as far as one can tell without
// using it.
func (s *Store) Ready() error {
	if err := s.sick(); err != nil {
		return err
	}
	if !s.nc.IsConnected() {
		return s.noConnection()
	}
	if !s.prepared.Load() {
		if why := s.trouble.Load(); why != nil {
			return fmt.Errorf("%w: %s", ErrUnavailable, *why)
		}
		return fmt.Errorf("%w: the streams are not there yet", ErrUnavailable)
	}
	if s.local != nil && !s.local.server().JetStreamEnabled() {
		return fmt.Errorf("%w: JetStream has stopped: %s", ErrUnavailable, s.local.log.worst())
	}
	return nil
}

// state is what STREAM.INFO says of a stream.
type state struct {
	Messages  uint64    `json:"messages"`
	First     uint64    `json:"first_seq"`
	FirstTime time.Time `json:"first_ts"`
	Last      uint64    `json:"last_seq"`
	Lost      *struct {
		Messages []uint64 `json:"msgs"`
		Bytes    uint64   `json:"bytes"`
	} `json:"lost"`
}

var errNoStream = errors.New("inbox: no such stream")

// state asks for that of a stream, and for the number of messages of one subject
// if that is not empty.
func (s *Store) state(ctx context.Context, stream string) (st state, err error) {
	in, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+stream, nil)
	if err != nil {
		return st, s.unavailable(err)
	}
	var answer struct {
		Error *apiError `json:"error"`
		State state     `json:"state"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return st, s.unavailable(err)
	}
	switch {
	case answer.Error == nil:
		return answer.State, nil
	case answer.Error.Code == int(jetstream.JSErrCodeStreamNotFound):
		return st, errNoStream
	}
	return st, s.unavailable(answer.Error)
}

// apiError is how JetStream says no.
type apiError struct {
	Status      int    `json:"code"`
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("JetStream: %s (%d)", e.Description, e.Code) }

func (s *Store) unavailable(err error) error {
	s.stats.unavailable.Add(1)
	if sick := s.sick(); sick != nil {
		return sick
	}
	switch {
	case s.local != nil:
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("JetStream gave no answer within %v; its log tells why, its disk may be full: %w", s.cfg.Timeout, err)
	case errors.Is(err, nats.ErrNoResponders):
		err = fmt.Errorf("nobody there has the stream; if it was deleted, start this server again to have a new one: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
