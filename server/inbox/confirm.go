package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// A NATS server that leads the replicas of a stream and is partitioned from the others
// keeps answering for some seconds from its own copy, while the others elect a new
// leader and store messages that it does not have. Only an answered write proves where
// the stream ends, because a majority has stored it.

// confirmGather is how long a confirmation waits for others to share its write, so
// that clients which name offsets that do not exist cause few.
const confirmGather = 100 * time.Millisecond

// confirmer shares writes that prove where a stream ends.
type confirmer struct {
	mu   sync.Mutex
	next *confirmation // its write has not begun; guarded by mu
}

type confirmation struct {
	done chan struct{} // closed after the write
	last uint64
	err  error
}

// confirmLast returns the last offset of a stream whose leader has answered that it is
// last. If the stream has replicas it writes to the stream, and the answer counts.
func (s *Store) confirmLast(ctx context.Context, k subject.Kind, last uint64) (uint64, error) {
	if !s.replicated.Load() {
		return last, nil
	}
	c := &s.confirms[k]
	for {
		c.mu.Lock()
		joined := c.next
		if joined == nil {
			own := &confirmation{done: make(chan struct{})}
			c.next = own
			c.mu.Unlock()
			s.confirm(ctx, k, own)
			return own.last, own.err
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, s.unavailable(ctx.Err())
		case <-joined.done:
		}
		if joined.err == nil || ctx.Err() != nil {
			return joined.last, joined.err
		}
		// Perhaps only the caller that wrote has given up.
	}
}

// confirm writes to a stream, after a while.
func (s *Store) confirm(ctx context.Context, k subject.Kind, own *confirmation) {
	defer close(own.done)
	timer := time.NewTimer(confirmGather)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	c := &s.confirms[k]
	c.mu.Lock()
	c.next = nil
	c.mu.Unlock()
	own.last, own.err = s.skipOne(ctx, k)
	if errors.Is(own.err, store.ErrFull) || errors.Is(own.err, errBoxFull) {
		// A majority must agree to a purge, too, even to one that removes nothing.
		if _, own.err = s.purgeStream(ctx, subject.Named(k, noName), 0); own.err == nil {
			var st state
			st, own.err = s.state(ctx, k)
			own.last = st.Last
		}
	}
}

// noName is the name of a box in which no message is stored: subject.Token never returns
// it.
const noName = "="

// skipOne makes a stream skip one offset, and returns it.
func (s *Store) skipOne(ctx context.Context, k subject.Kind) (offset uint64, err error) {
	b := subject.Named(k, noName)
	in, err := s.request(ctx, b.Subject, nil)
	if err != nil {
		return 0, s.missing(err)
	}
	var ack struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(in.Data, &ack); err != nil {
		return 0, s.unavailable(err)
	}
	if ack.Error != nil {
		return 0, s.rejection(k, ack.Error)
	}
	_, err = s.purgeStream(ctx, b, ack.Seq)
	return ack.Seq, err
}
