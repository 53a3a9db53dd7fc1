package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// verifyStreams creates the streams of an outside NATS that do not exist, gives the
// others the limits of the configuration, and takes note of their epochs.
func (s *Store) verifyStreams(ctx context.Context) error {
	if !s.link.Load().nc.IsConnected() {
		return s.noConnection()
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	infos := make([]*jetstream.StreamInfo, subject.Kinds)
	var created [subject.Kinds]bool
	var reached [2]uint64
	// Positions first, which show what offsets were assigned, and then the stream whose limits
	// may be rejected: the other is left as it is.
	for _, k := range [...]subject.Kind{subject.Ack, subject.Inbox, subject.Topic} {
		var first uint64
		var err error
		if k != subject.Ack {
			if reached[k], err = s.reached(ctx, k, infos[subject.Ack]); err != nil {
				return s.notPrepared(k, err)
			}
			first = subject.FirstOffset(s.now(), reached[k])
		}
		if infos[k], created[k], err = s.ensureStream(ctx, k, first); err != nil {
			return s.notPrepared(k, err)
		}
		s.clocks[k].note(infos[k].TimeStamp, s.now())
	}
	changed := false
	for k := range subject.Ack {
		c, err := s.learn(ctx, k, infos[k], reached[k])
		if err != nil {
			return s.notPrepared(k, err)
		}
		changed = changed || c
	}
	if created[subject.Inbox] || created[subject.Topic] {
		s.link.Load().nc.Publish(verifySubject, nil) // a node that misses it verifies later
	}
	for k, info := range infos {
		s.bytes[k].Store(int64(info.State.Bytes))
	}
	if s.trouble.Store(nil); !s.prepared.Swap(true) || changed {
		s.recovered()
	}
	return nil
}

func (s *Store) notPrepared(k subject.Kind, err error) error {
	err = field.Wrapf("stream %s: %w", k.Stream(), s.explain(err))
	why := err.Error()
	s.trouble.Store(&why)
	s.prepared.Store(false)
	return field.Wrapf("inbox: %w", err)
}

// streamPatience is how long the first request for a stream may take with an outside
// NATS; it is then repeated with twice that. Of nodes that start at the same time
// with a new cluster some get no answer to the first, and one to the next.
const streamPatience = 250 * time.Millisecond

// ensureStream creates a stream, with so many offsets skipped, or updates its
// configuration.
func (s *Store) ensureStream(ctx context.Context, k subject.Kind, first uint64) (info *jetstream.StreamInfo, created bool, err error) {
	if s.local != nil { // the server that was just started may be slow
		return s.tryStream(ctx, k, first)
	}
	limit := min(streamPatience, s.cfg.Timeout)
	for {
		attempt, cancel := context.WithTimeout(ctx, limit)
		info, created, err = s.tryStream(attempt, k, first)
		cancel()
		if limit == s.cfg.Timeout || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return info, created, err
		}
		limit = min(2*limit, s.cfg.Timeout)
	}
}

func (s *Store) tryStream(ctx context.Context, k subject.Kind, first uint64) (info *jetstream.StreamInfo, created bool, err error) {
	js := s.link.Load().js
	found, err := js.Stream(ctx, k.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		want := jetstream.StreamConfig{Name: k.Stream(), FirstSeq: first}
		s.configure(&want, k)
		if found, err = js.CreateStream(ctx, want); err == nil {
			s.log.Info("stream created", "stream", k.Stream())
		}
		created = true
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
		created = false
		found, err = js.Stream(ctx, k.Stream())
	}
	if err != nil {
		return nil, false, err
	}
	info = found.CachedInfo()
	if !created {
		// Settings of the operator stay: placement, compression, and so on.
		have, want := info.Config, info.Config
		s.configure(&want, k)
		if s.limited[k].Load() {
			s.leaveLimits(k, have, &want)
		}
		if list := changes(have, want); len(list) > 0 {
			if err := s.fits(k, info); err != nil {
				return nil, false, err
			}
			if err := s.verifyOutside(ctx, k, found, have, want); err != nil {
				return nil, false, err
			}
			s.log.Warn("updating stream limits", "stream", k.Stream(), "changes", list)
			if found, err = js.UpdateStream(ctx, want); err != nil {
				return nil, false, err
			}
			had := info
			info = found.CachedInfo()
			s.logRemovedOutside(k, had, info)
		}
	}
	s.limited[k].Store(true)
	if info.Config.Replicas > 1 {
		s.replicated.Store(true)
	}
	return info, created, nil
}

// leaveLimits leaves the limits of a stream which this store gave its own before: a
// node that started later has others. If both insisted, each would undo what the other
// did, without end.
func (s *Store) leaveLimits(k subject.Kind, have jetstream.StreamConfig, want *jetstream.StreamConfig) {
	own := *want
	want.MaxBytes, want.MaxMsgsPerSubject, want.MaxAge = have.MaxBytes, have.MaxMsgsPerSubject, have.MaxAge
	want.Discard, want.DiscardNewPerSubject, want.Duplicates = have.Discard, have.DiscardNewPerSubject, have.Duplicates
	list := changes(own, *want)
	text := fmt.Sprint(list)
	if was := s.othersLimits[k].Swap(&text); len(list) > 0 && (was == nil || *was != text) {
		s.log.Warn("stream limits changed by another node", "stream", k.Stream(), "changes", list,
			"advice", "give all nodes the same limits")
	}
}

// limitError says that a limit, a field of Config, is below what is stored.
type limitError struct{ error }

func (e limitError) Unwrap() error { return e.error }

func limitTooLow(name string, limit int64, what string, stored uint64) error {
	return limitError{field.Errorf(name, "is %d: %s of %d bytes are stored; want at least %d", limit, what, stored, stored)}
}

// fits returns an error if a stream holds more than it may.
func (s *Store) fits(k subject.Kind, info *jetstream.StreamInfo) error {
	stored := info.State.Bytes
	switch {
	case k == subject.Ack && stored > uint64(s.cfg.Positions):
		return limitTooLow("Positions", s.cfg.Positions, "acknowledged positions", stored)
	case k != subject.Ack && s.cfg.DiskFull == FullReject && stored > uint64(s.cfg.Disk):
		return limitTooLow("Disk", s.cfg.Disk, fmt.Sprint(info.State.Msgs, " messages"), stored)
	}
	return nil
}

// epochKey names the epoch in the metadata of a stream of an outside NATS.
const epochKey = "fanfare-epoch"

// configure sets what matters in the configuration of a stream.
func (s *Store) configure(sc *jetstream.StreamConfig, k subject.Kind) {
	cfg := &s.cfg
	sc.Storage = jetstream.FileStorage
	// Fewer than there are would be asked for by one of many nodes whose
	// configuration lacks Replicas.
	sc.Replicas = max(sc.Replicas, cfg.Replicas)
	sc.AllowDirect = true
	if s.local == nil && k != subject.Ack && sc.Metadata[epochKey] == "" {
		metadata := map[string]string{epochKey: newEpochID()}
		for key, v := range sc.Metadata {
			metadata[key] = v
		}
		sc.Metadata = metadata
	}
	sc.Subjects = []string{k.Prefix() + "*"}
	if k == subject.Ack {
		sc.Subjects = []string{k.Prefix() + "*", k.Prefix() + "*.*"}
		sc.MaxBytes = cfg.Positions
		sc.MaxMsgsPerSubject = 1
		// A position is removed when no message that it concerns can be left. For
		// subscribers of a topic it is renewed at half the age: see Renew.
		sc.MaxAge = account.Remembered(cfg.Age)
		sc.Discard = jetstream.DiscardNew
		sc.DiscardNewPerSubject = false
		sc.Duplicates = 100 * time.Millisecond // positions have no IDs
		return
	}
	sc.MaxBytes = cfg.Disk
	sc.MaxMsgsPerSubject = int64(cfg.Messages)
	sc.MaxAge = cfg.Age
	sc.Discard = jetstream.DiscardNew
	if cfg.DiskFull == FullDropOldest {
		sc.Discard = jetstream.DiscardOld
	}
	// Whether a topic was read by all subscribers is not known.
	sc.DiscardNewPerSubject = cfg.UserFull == FullReject && k == subject.Inbox
	sc.Duplicates = cfg.Window
}

// state is the state of a stream, from STREAM.INFO.
type state struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	First    uint64 `json:"first_seq"`
	Last     uint64 `json:"last_seq"`

	epoch string // of a stream of an outside NATS
}

// state returns the state of a stream.
func (s *Store) state(ctx context.Context, k subject.Kind) (st state, err error) {
	in, err := s.request(ctx, "$JS.API.STREAM.INFO."+k.Stream(), nil)
	if err != nil {
		return st, s.missing(err)
	}
	var answer struct {
		Error  *apiError `json:"error"`
		State  state     `json:"state"`
		Config struct {
			Metadata map[string]string `json:"metadata"`
		} `json:"config"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return st, s.unavailable(err)
	}
	switch {
	case answer.Error == nil:
		answer.State.epoch = answer.Config.Metadata[epochKey]
		return answer.State, nil
	case answer.Error.Code == codeStreamNotFound:
		return st, s.missing(errNoStream)
	}
	return st, s.unavailable(answer.Error)
}

// missing counts a failed operation and returns its error, like unavailable. If the
// error may mean that the streams were deleted, they are created again.
func (s *Store) missing(err error) error {
	if s.local == nil && (errors.Is(err, nats.ErrNoResponders) || errors.Is(err, errNoStream)) {
		s.prepared.Store(false)
		s.wake()
		return fmt.Errorf("%w: NATS does not have the stream; it is created again", store.ErrUnavailable)
	}
	return s.unavailable(err)
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
