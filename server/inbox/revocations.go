package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/revoke"
	"fanfare/server/store"
)

const (
	revokedStream = "FANFARE_REVOKED"
	revokedPrefix = "fanfare.revoked."
	maxRevoked    = 8 << 10 // bytes of one entry: two names of 1 KiB, escaped
)

// Revocations returns a revoke.Store in a stream of its own beside the messages: one
// message for each entry, on a subject with its ID.
func (s *Store) Revocations() revoke.Store { return revocations{s} }

type revocations struct{ s *Store }

// Put implements revoke.Store.
func (r revocations) Put(ctx context.Context, e revoke.Entry, last uint64) (uint64, error) {
	ctx, cancel, err := r.s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	if err := r.s.Ready(); err != nil { // a full disk
		return 0, err
	}
	ack, err := r.s.link.Load().js.Publish(ctx, revokedPrefix+e.ID, e.Encode(),
		jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithExpectStream(revokedStream))
	var said *jetstream.APIError
	switch {
	case errors.As(err, &said) && wrongLast(int(said.ErrorCode)):
		return 0, revoke.ErrConflict
	case err != nil:
		return 0, r.unavailable(err)
	}
	return ack.Sequence, nil
}

// Remove implements revoke.Store.
func (r revocations) Remove(ctx context.Context, id string, revision uint64) error {
	ctx, cancel, err := r.s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	stream, err := r.s.link.Load().js.Stream(ctx, revokedStream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(revokedPrefix+id), jetstream.WithPurgeSequence(revision+1))
	}
	if err != nil {
		return r.unavailable(err)
	}
	return nil
}

// Load implements revoke.Store. It creates the stream if there is none.
func (r revocations) Load(ctx context.Context, since revoke.Version) ([]revoke.Entry, revoke.Version, error) {
	ctx, cancel, err := r.s.begin(ctx)
	if err != nil {
		return nil, since, err
	}
	defer cancel()
	entries, version, err := r.load(ctx, since)
	if err != nil {
		return nil, since, r.unavailable(err)
	}
	return entries, version, nil
}

func (r revocations) load(ctx context.Context, since revoke.Version) (entries []revoke.Entry, v revoke.Version, err error) {
	stream, err := r.stream(ctx)
	if err != nil {
		return nil, v, err
	}
	info := stream.CachedInfo()
	v.History = fmt.Sprint(info.Created.UnixNano())
	v.State = fmt.Sprint(info.State.LastSeq, info.State.Msgs)
	if v == since || info.State.Msgs == 0 {
		return nil, v, nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{InactiveThreshold: r.s.cfg.Timeout})
	if err != nil {
		return nil, v, err
	}
	for left := info.State.Msgs; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 1000)), jetstream.FetchMaxWait(r.s.cfg.Timeout))
		if err != nil {
			return nil, v, err
		}
		got := false
		for m := range batch.Messages() {
			got = true
			meta, err := m.Metadata()
			if err != nil {
				return nil, v, err
			}
			left = meta.NumPending
			e, err := revoke.Decode(m.Data())
			if err != nil || e.ID != strings.TrimPrefix(m.Subject(), revokedPrefix) {
				return nil, v, fmt.Errorf("message %d of stream %s is not a revocation (%v): delete it", meta.Sequence.Stream, revokedStream, err)
			}
			e.Revision = meta.Sequence.Stream
			entries = append(entries, e)
		}
		if err := batch.Error(); err != nil {
			return nil, v, err
		}
		if !got {
			return nil, v, errors.New("no answer to a request for stored revocations")
		}
	}
	return entries, v, nil
}

// stream returns the stream with its state.
func (r revocations) stream(ctx context.Context) (jetstream.Stream, error) {
	js := r.s.link.Load().js
	stream, err := js.Stream(ctx, revokedStream)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: revokedStream, Description: "Revocations of fanfare", Subjects: []string{revokedPrefix + "*"},
		Storage: jetstream.FileStorage, Replicas: r.s.cfg.Replicas, MaxMsgsPerSubject: 1, MaxMsgSize: maxRevoked,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
		return js.Stream(ctx, revokedStream)
	}
	if err == nil {
		r.s.log.Info("stream created", "stream", revokedStream)
	}
	return stream, err
}

// unavailable wraps an error of JetStream.
func (r revocations) unavailable(err error) error {
	if sick := r.s.sick(); sick != nil {
		return sick
	}
	return fmt.Errorf("%w: stream %s: %w", store.ErrUnavailable, revokedStream, r.s.explain(err))
}
