package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// prepare makes the streams, or makes them as they are wanted.
func (s *Store) prepare(ctx context.Context) error {
	if !s.nc.IsConnected() {
		return s.noConnection()
	}
	if s.local == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
	}
	for _, name := range streams {
		if err := s.makeStream(ctx, name); err != nil {
			err = fmt.Errorf("inbox: stream %s: %w", name, s.explain(err))
			why := strings.TrimPrefix(err.Error(), "inbox: ")
			s.trouble.Store(&why)
			return err
		}
	}
	s.prepared.Store(true)
	return nil
}

// prepareEvery is how often it is tried to make the streams of an outside NATS.
const prepareEvery = 500 * time.Millisecond

// runPrepare prepares an outside NATS that could not be at Open.
func (s *Store) runPrepare() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := ""
	for {
		select {
		case <-s.quit:
			return
		case <-time.After(prepareEvery + rand.N(prepareEvery)):
		}
		attempt := make(chan error, 1)
		go func() { attempt <- s.prepare(ctx) }()
		select {
		case <-s.quit:
			cancel()
			<-attempt
			return
		case err := <-attempt:
			if err == nil {
				s.log.Info("NATS keeps messages")
				return
			}
			if s.nc.IsConnected() && err.Error() != told {
				told = err.Error()
				s.log.Warn("NATS does not keep messages yet", "err", err)
			}
		}
	}
}

// patience is how long the first request for a stream may take with an outside
// NATS; then it is repeated, with twice that. Of nodes that start at the same time
// with a new cluster some get no answer, and another one to the next request. With
// three of NATS on one machine a stream takes 50 ms.
const patience = 250 * time.Millisecond

// makeStream makes one, or makes it as it is wanted.
func (s *Store) makeStream(ctx context.Context, name string) error {
	limit := s.cfg.Timeout
	if s.local == nil {
		limit = min(patience, limit)
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, limit)
		err := s.tryStream(attempt, name)
		cancel()
		if limit == s.cfg.Timeout || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		limit = min(2*limit, s.cfg.Timeout)
	}
}

func (s *Store) tryStream(ctx context.Context, name string) error {
	want := jetstream.StreamConfig{Name: name}
	found, err := s.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s.configure(&want)
		_, err = s.js.CreateStream(ctx, want)
	case err == nil:
		// What is not ours stays: where it is, how it is compressed, and so on.
		have := found.CachedInfo().Config
		want = have
		s.configure(&want)
		if changes := changes(have, want); len(changes) > 0 {
			s.log.Warn("a stream was made with other limits, and gets those of this server", "stream", name, "changes", changes)
			_, err = s.js.UpdateStream(ctx, want)
		}
	}
	if err == nil && want.Replicas > 1 {
		s.replicated.Store(true)
	}
	return err
}

// configure sets what matters in the configuration of a stream.
func (s *Store) configure(sc *jetstream.StreamConfig) {
	cfg := &s.cfg
	sc.Storage = jetstream.FileStorage
	// Fewer than there are would be asked for by one of many nodes that was not
	// told of them.
	sc.Replicas = max(sc.Replicas, cfg.Replicas)
	sc.MaxBytes = cfg.Disk
	sc.AllowDirect = true
	if sc.Name == ackStream {
		sc.Subjects = []string{ackPrefix + "*", ackPrefix + "*.*"}
		sc.MaxMsgsPerSubject = 1
		// What was read is forgotten when nothing of it can be left. Who follows
		// a topic renews the position at half the age: see Renew.
		sc.MaxAge = 2*cfg.Age + time.Hour
		sc.Discard = jetstream.DiscardOld
		sc.Duplicates = 100 * time.Millisecond // there are no IDs
		return
	}
	sc.Subjects = []string{inboxPrefix + "*"}
	if sc.Name == topicStream {
		sc.Subjects = []string{topicPrefix + "*"}
	}
	sc.MaxMsgsPerSubject = int64(cfg.Messages)
	sc.MaxAge = cfg.Age
	sc.Discard = jetstream.DiscardNew
	if cfg.DiskFull == FullDropOldest {
		sc.Discard = jetstream.DiscardOld
	}
	// Nobody is asked whether a topic was read.
	sc.DiscardNewPerSubject = cfg.UserFull == FullRefuse && sc.Name == inboxStream
	sc.Duplicates = cfg.Window
}

// changes are the members of one configuration that differ in another, as in
// "max_bytes: 4294967296 to 1073741824".
func changes(from, to jetstream.StreamConfig) (list []string) {
	was, is := members(from), members(to)
	for name := range is {
		if _, ok := was[name]; !ok {
			was[name] = json.RawMessage("nothing")
		}
	}
	for name, v := range was {
		w, ok := is[name]
		if !ok {
			w = json.RawMessage("nothing")
		}
		if string(v) != string(w) {
			list = append(list, fmt.Sprintf("%s: %s to %s", name, v, w))
		}
	}
	slices.Sort(list)
	return list
}

func members(sc jetstream.StreamConfig) (m map[string]json.RawMessage) {
	b, err := json.Marshal(sc)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic("BUG: inbox: " + err.Error())
	}
	return m
}

// explain adds what to do to what an outside NATS says, or does not say.
func (s *Store) explain(err error) error {
	var said *jetstream.APIError
	switch {
	case s.local != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: JetStream may have no leader there, or this client no permission for $JS.API.>; the log of NATS tells: %w", s.cfg.Timeout, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("JetStream is not enabled there: start nats-server with -js, or a jetstream block in its configuration: %w", err)
	case errors.As(err, &said) && (said.ErrorCode == codeStorageExceeded || said.ErrorCode == codeInsufficient):
		return fmt.Errorf("each NATS with a copy wants room for three times the limit of the disk, which is %d MiB: %w", s.cfg.Disk>>20, err)
	}
	return err
}
