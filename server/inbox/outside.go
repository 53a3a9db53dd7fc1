package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
	"fanfare/server/store"
)

// connect to an outside NATS, now or when it can be reached.
func (s *Store) connect() error {
	nc, err := natsconn.Connect(s.cfg.nats(), natsconn.Handlers{
		Connected: func(nc *nats.Conn, again bool) {
			s.warnOfMaxPayload(nc.MaxPayload())
			if again { // perhaps to another NATS, or to one that lost its streams
				s.prepared.Store(false)
			}
			s.wake()
		},
		Lost: func(err error) {
			why := err.Error()
			s.away.Store(&why)
		},
	})
	if err != nil {
		return field.Wrapf("inbox: %w", err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(s.cfg.Timeout))
	if err != nil {
		nc.Close()
		return field.Wrapf("inbox: %w", err)
	}
	_, err = nc.Subscribe(verifySubject, func(*nats.Msg) {
		s.prepared.Store(false)
		s.wake()
	})
	if err != nil {
		nc.Close()
		return field.Wrapf("inbox: %w", err)
	}
	s.link.Store(&link{nc, js})
	return nil
}

// verifySubject carries an empty message of a node that created a stream to all other
// nodes: what they know of its offsets may be void.
const verifySubject = "fanfare.streams"

func (s *Store) noConnection() error {
	if s.local != nil {
		return fmt.Errorf("%w: the embedded server is not started yet", store.ErrUnavailable)
	}
	url := natsconn.Redact(s.cfg.URL)
	if why := s.away.Load(); why != nil {
		return fmt.Errorf("%w: no connection to NATS at %s: %s", store.ErrUnavailable, url, *why)
	}
	return fmt.Errorf("%w: no connection to NATS at %s", store.ErrUnavailable, url)
}

const (
	// verifyRetry separates attempts to create or verify the streams.
	verifyRetry = 500 * time.Millisecond
	// verifyInterval is how often streams that are there are verified, beyond what
	// an error or a new connection suggests.
	verifyInterval = 10 * time.Second
)

// runOutside creates and verifies the streams: at the start, after each new
// connection, and when an operation did not find one.
func (s *Store) runOutside(err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	logged := ""
	for {
		wait := verifyInterval
		if err != nil {
			wait = verifyRetry + rand.N(verifyRetry)
			if text := err.Error(); s.link.Load().nc.IsConnected() && text != logged {
				logged = text
				s.log.Warn("stored messages unavailable", "err", err)
			}
		} else if logged != "" {
			logged = ""
			s.log.Info("stored messages available")
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.quit:
		case <-timer.C:
		case <-s.kick:
		}
		timer.Stop()
		verified := make(chan error, 1)
		go func() { verified <- s.verifyStreams(ctx) }()
		select {
		case <-s.quit:
			cancel()
			<-verified
			return
		case err = <-verified:
		}
		if err != nil {
			select { // what failed may have asked for another attempt, which waits
			case <-s.kick:
			default:
			}
		}
	}
}

// settle waits while the streams are verified, which takes some milliseconds, unless
// they are known to be missing.
func (s *Store) settle(ctx context.Context) {
	verifying := func() bool {
		return s.local == nil && !s.prepared.Load() && s.trouble.Load() == nil && s.link.Load().nc.IsConnected()
	}
	var deadline <-chan time.Time
	for verifying() {
		if deadline == nil {
			deadline = time.After(s.cfg.Timeout)
		}
		select {
		case <-deadline:
			return
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// explain adds advice to an error from an outside NATS, or to a missing answer.
func (s *Store) explain(err error) error {
	var said *jetstream.APIError
	var answer *apiError
	switch {
	case s.local != nil:
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from JetStream within %v: it may have no leader or a full disk, or this client no permission for $JS.API.>; see the log of NATS: %w", s.cfg.Timeout, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("JetStream is not enabled: start nats-server with -js, or with a jetstream block in its configuration: %w", err)
	case errors.As(err, &said) && isInsufficient(int(said.ErrorCode)), errors.As(err, &answer) && isInsufficient(answer.Code):
		return fmt.Errorf("each NATS server with a copy needs room for twice Disk and Positions, %d MiB: %w",
			(2*s.cfg.Disk+s.cfg.Positions)>>20, err)
	}
	return err
}

func isInsufficient(code int) bool { return code == codeStorageExceeded || code == codeInsufficient }
