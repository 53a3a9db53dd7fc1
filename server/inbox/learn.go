package inbox

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/subject"
)

// Offsets of an outside stream never decrease. Otherwise a new message could have an
// offset that a session has received or a user has acknowledged, and would not be
// delivered. So a new stream begins beyond all offsets that an earlier stream of its
// name may have assigned, and a stream restored from a backup skips the offsets that
// were assigned after the backup.

// reached returns the greatest offset of a stream that is known to have been
// assigned: by what this process has seen, and by the position that was stored last.
func (s *Store) reached(ctx context.Context, k subject.Kind, positions *jetstream.StreamInfo) (uint64, error) {
	seen := s.history[k].last.Load()
	if positions.State.Msgs == 0 || s.prepared.Load() {
		return seen, nil
	}
	names := subject.Ack.Prefix() + "*" // see subject.PositionName
	if k == subject.Topic {
		names += ".*"
	}
	in, err := s.getFromLeader(ctx, subject.Ack, query{last: names})
	if in == nil || err != nil {
		return seen, err
	}
	acked, err := strconv.ParseUint(string(in.Data), 10, 64)
	if err != nil {
		return seen, nil // storedPosition reports it to its user
	}
	return max(seen, acked), nil
}

// learn takes note of a stream of an outside NATS that is known to have reached an
// offset. It reports whether the offsets of the stream belong to another history than
// before.
func (s *Store) learn(ctx context.Context, k subject.Kind, info *jetstream.StreamInfo, reached uint64) (changed bool, err error) {
	h := &s.history[k]
	was, given := h.epoch(), h.givenEpoch()
	id, last := info.Config.Metadata[epochKey], info.State.LastSeq
	if was != "" && id != was || last < reached {
		// A server that is partitioned from the others answers with what it had.
		if last, err = s.confirmLast(ctx, k, last); err != nil {
			return false, err
		}
		found, err := s.link.Load().js.Stream(ctx, k.Stream())
		if err != nil {
			return false, err
		}
		info = found.CachedInfo()
		id, last = info.Config.Metadata[epochKey], max(last, info.State.LastSeq)
	}
	if last < reached {
		s.log.Warn("stream offsets skipped", "stream", k.Stream(), "last", last, "reached", reached,
			"cause", "the stream ends before an offset that was assigned")
		if id == was || was == "" && id != given {
			if id, err = s.giveEpoch(ctx, k, info.Config); err != nil {
				return false, err
			}
		}
		if last, err = s.advanceTo(ctx, k, last, reached); err != nil {
			return false, err
		}
	}
	if id == was {
		h.saw(last)
		return false, nil
	}
	if was != "" {
		s.log.Warn("stream history changed", "stream", k.Stream(), "epoch", id, "effect", "clients get a gap")
	}
	h.mu.Lock()
	h.id = id
	h.last.Store(last)
	h.mu.Unlock()
	s.tails.history.Add(1)
	return was != "", nil
}

func (h *history) givenEpoch() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.given
}

// giveEpoch gives a stream a new epoch.
func (s *Store) giveEpoch(ctx context.Context, k subject.Kind, sc jetstream.StreamConfig) (id string, err error) {
	sc.Metadata = maps.Clone(sc.Metadata)
	sc.Metadata[epochKey] = newEpochID()
	found, err := s.link.Load().js.UpdateStream(ctx, sc)
	if err != nil {
		return "", err
	}
	id = found.CachedInfo().Config.Metadata[epochKey]
	h := &s.history[k]
	h.mu.Lock()
	h.given = id
	h.mu.Unlock()
	return id, nil
}

const (
	// maxSkip bounds how many offsets are skipped one by one: about a minute.
	maxSkip = 1 << 22
	// skipBatch is how many are under way at a time.
	skipBatch = 500
)

// advanceTo makes a stream that ends at an offset continue after another one. What
// it has skipped when it fails stays skipped.
func (s *Store) advanceTo(ctx context.Context, k subject.Kind, last, reached uint64) (uint64, error) {
	if reached-last > maxSkip {
		return last, fmt.Errorf("ends at offset %d, and offset %d has been assigned, as after restoring an old backup; restore a newer one, "+
			"or delete the stream, with its messages, to have it created again", last, reached)
	}
	js := s.link.Load().js
	for last < reached {
		n := min(reached-last, skipBatch, uint64(s.cfg.Messages))
		var stored []jetstream.PubAckFuture
		for range n {
			f, err := js.PublishAsync(subject.Named(k, noName).Subject, nil)
			if err != nil {
				return last, err
			}
			stored = append(stored, f)
		}
		for _, f := range stored {
			select {
			case ack := <-f.Ok():
				last = max(last, ack.Sequence)
			case err := <-f.Err():
				return last, fmt.Errorf("skipping offsets: %w", err)
			case <-ctx.Done():
				return last, fmt.Errorf("skipping offsets: %w", ctx.Err())
			}
		}
		if _, err := s.purgeStream(ctx, subject.Named(k, noName), last); err != nil {
			return last, err
		}
	}
	return last, nil
}
