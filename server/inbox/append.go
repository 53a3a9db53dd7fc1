package inbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/publisher"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// pending is an append that has its place in the order of its box.
type pending struct {
	store *Store
	to    subject.Box
	entry store.Entry
	begun time.Time
	place place
}

// Begin takes a place in the order of appends to a box.
func (s *Store) Begin(to store.Box, e store.Entry) store.Pending {
	b := subject.Of(to)
	return &pending{s, b, e, s.now(), s.tails.enter(b)}
}

// Finish stores the entry and returns when it is stored.
func (p *pending) Finish(ctx context.Context) (store.Receipt, error) {
	s, t := p.store, p.place.tail
	if err := p.awaitTurn(ctx); err != nil {
		p.place.abandon()
		return store.Receipt{}, s.unavailable(err)
	}
	defer p.place.leave()
	s.settle(ctx)
	if err := s.Ready(); err != nil {
		s.stats.unavailable.Add(1)
		return store.Receipt{}, err
	}
	size := int64(len(p.entry.Payload))
	if err := s.tooBig(size); err != nil {
		return store.Receipt{}, err
	}
	if p.entry.TTL > s.cfg.Age {
		return store.Receipt{}, fmt.Errorf("%w: it is %v, and messages are stored for %v", store.ErrTTL, p.entry.TTL, s.cfg.Age)
	}
	bound := s.bound(ctx)
	defer bound.end()
	if s.local != nil {
		name := account.HashName(p.to.Kind, p.to.Name())
		if !s.filled.Has(name) { // nothing was ever appended, so there is nothing to look up
			t.begin(s.tails.history.Load(), s.end(p.to))
		}
		s.filled.Add(name)
	}
	for i := 0; ; i++ {
		r, err := p.attempt(bound, t, size)
		switch {
		case errors.Is(err, errRaced):
			t.known = false
			if err := backOff(bound.context(), i); err != nil {
				return store.Receipt{}, s.unavailable(fmt.Errorf("other nodes append to the same box all the time: %w", err))
			}
		case errors.Is(err, errBoxFull):
			if n, e := s.purgeRead(bound.context(), p.to); e != nil || n == 0 {
				s.stats.rejected.Add(1)
				return store.Receipt{}, fmt.Errorf("%w: %d messages are unread", store.ErrFull, s.cfg.Messages)
			}
		case err != nil:
			t.known = false
			return store.Receipt{}, err
		default:
			return r, nil
		}
	}
}

// awaitTurn waits for the preceding appends to the box. A long queue is not a
// failure: a store that answers no write for Config.Timeout is.
func (p *pending) awaitTurn(ctx context.Context) error {
	if p.place.before == nil {
		return nil
	}
	s := p.store
	idle := time.NewTimer(s.cfg.Timeout)
	defer idle.Stop()
	for {
		select {
		case <-p.place.before:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-idle.C:
			since := p.begun
			if at := time.Unix(0, s.answered.Load()); at.After(since) {
				since = at
			}
			left := s.cfg.Timeout - s.now().Sub(since)
			if left <= 0 {
				return fmt.Errorf("earlier appends to the box got no answer: %w", context.DeadlineExceeded)
			}
			idle.Reset(left)
		}
	}
}

const (
	// backOffFirst is about a round trip to a NATS nearby.
	backOffFirst = time.Millisecond
	backOffMost  = 200 * time.Millisecond
)

// backOff waits before attempt i+1, longer each time, until the context is done. Of
// the stores that append to one box one succeeds in each round, and the more there are,
// the longer they wait.
func backOff(ctx context.Context, i int) error {
	most := min(backOffFirst<<min(i, 10), backOffMost)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt stores the message if the box ends where the tail says, which is looked up
// if it is not known.
func (p *pending) attempt(bound *bound, t *tail, size int64) (store.Receipt, error) {
	s := p.store
	if history := s.tails.history.Load(); t.history != history {
		t.known, t.prev, t.history = false, 0, history
	}
	if !t.known {
		if err := s.lookup(bound.context(), p.to, t); err != nil {
			return store.Receipt{}, err
		}
	}
	if t.sum+size-t.base > s.cfg.Bytes {
		if err := s.makeRoom(bound.context(), p.to, t, size); err != nil {
			return store.Receipt{}, err
		}
	}
	return p.publish(bound.publishing(), t)
}

// lookup reads the end of a box. What was known is kept where it goes further: the
// offset of a last message that was removed is the link of the next.
func (s *Store) lookup(ctx context.Context, b subject.Box, t *tail) error {
	m, err := s.last(ctx, b)
	if err != nil {
		return err
	}
	if t.unsure {
		if err := s.accountFor(ctx, b, m, t.prev); err != nil {
			return err
		}
		t.unsure = false
	}
	if s.local == nil && t.prev > 0 && (m == nil || m.Offset < t.prev) {
		// Removed, or the stream was created again or restored.
		st, err := s.state(ctx, b.Kind)
		if err != nil {
			return err
		}
		if changed := st.epoch != s.history[b.Kind].epoch(); changed || st.Last < t.prev {
			if changed {
				t.prev = 0
			}
			s.prepared.Store(false)
			s.wake()
		}
	}
	if m == nil {
		t.last, t.base = 0, t.sum
		t.prev = max(t.prev, s.end(b))
	} else {
		t.last, t.sum = m.Offset, m.sum
		t.prev = max(t.prev, m.Offset)
		t.base = min(t.base, t.sum)
	}
	t.known = true
	return nil
}

// accountFor adds messages after an offset, m and what its links lead to, to the
// account: their appends got no answer.
func (s *Store) accountFor(ctx context.Context, b subject.Box, m *message, after uint64) (err error) {
	for m != nil && m.Offset > after {
		if err := s.account(b, m.Offset, m.Stored, len(m.Payload)); err != nil {
			return err
		}
		if m, err = s.at(ctx, b, m.Prev); err != nil {
			return err
		}
	}
	return nil
}

// account adds a stored message to the account of an embedded store.
func (s *Store) account(b subject.Box, offset uint64, at time.Time, size int) error {
	if s.local == nil {
		return nil
	}
	s.ends.stored(b, offset, at)
	if err := s.local.account.Message(b.Kind, offset, at, size, b.Name()); err != nil {
		return s.accountFailed(err)
	}
	return nil
}

// unlikelyStep is more than other nodes usually append between two appends of this one.
// After a greater step the stream is verified: it may have been created again.
const unlikelyStep = 1 << 16

// publish stores the message if the box ends at t.
func (p *pending) publish(ctx context.Context, t *tail) (store.Receipt, error) {
	s, size := p.store, int64(len(p.entry.Payload))
	var m message
	m.Prev, m.Binary, m.sum = t.prev, p.entry.Binary, t.sum+size
	if p.entry.TTL > 0 {
		m.Expires = s.now().Add(p.entry.TTL)
	}
	id := ""
	if p.entry.ID != "" {
		id = subject.Token(p.entry.ID) + "." + p.to.Subject
	}
	seen := s.history[p.to.Kind].last.Load()
	offset, duplicate, err := s.put(ctx, p.to, &m, p.entry.Payload, t.last, id)
	if err != nil {
		t.unsure = t.unsure || s.local != nil && errors.Is(err, store.ErrUnavailable)
		return store.Receipt{}, err
	}
	if duplicate {
		if err := p.verifyDuplicate(ctx, offset); err != nil {
			return store.Receipt{}, err
		}
		s.stats.duplicates.Add(1)
		return store.Receipt{Offset: offset, Duplicate: true}, nil
	}
	if s.local == nil && seen > 0 && (offset <= seen || offset-seen > unlikelyStep) {
		// The stream may have been created again since it was verified.
		s.prepared.Store(false)
		s.wake()
	}
	s.history[p.to.Kind].saw(offset)
	t.last, t.prev, t.sum = offset, offset, m.sum
	if err := s.account(p.to, offset, s.now(), len(p.entry.Payload)); err != nil {
		return store.Receipt{}, err
	}
	s.stats.appended.Add(1)
	return store.Receipt{Offset: offset, Prev: m.Prev}, nil
}

// verifyDuplicate returns an error if the message at an offset, which has the ID of the entry, is
// another one, as far as it can still be read.
func (p *pending) verifyDuplicate(ctx context.Context, offset uint64) error {
	m, err := p.store.at(ctx, p.to, offset)
	if err != nil || m == nil || m.Binary == p.entry.Binary && bytes.Equal(m.Payload, p.entry.Payload) {
		return nil // it is stored
	}
	p.store.stats.rejected.Add(1)
	return fmt.Errorf("%w: that of offset %d", store.ErrIDReused, offset)
}

// put appends to the stream, if the last message of the box is at an offset.
func (s *Store) put(ctx context.Context, to subject.Box, m *message, payload []byte, last uint64, id string) (offset uint64, duplicate bool, err error) {
	header := append(make([]publisher.Field, 0, 3),
		publisher.Field{Name: linkHeader, Value: m.link()},
		publisher.Field{Name: "Nats-Expected-Last-Subject-Sequence", Value: strconv.FormatUint(last, 10)})
	if id != "" {
		header = append(header, publisher.Field{Name: "Nats-Msg-Id", Value: id})
	}
	ack, err := s.publish(ctx, to.Kind, &publisher.Message{Subject: to.Subject, Header: header, Payload: payload})
	return ack.Seq, ack.Duplicate, err
}

// rejection is the error for a message that JetStream does not store.
func (s *Store) rejection(k subject.Kind, e *apiError) error {
	limit := fmt.Errorf("%w: Disk is %d bytes", store.ErrFull, s.cfg.Disk)
	if k == subject.Ack {
		limit = fmt.Errorf("%w: Positions is %d bytes", store.ErrFull, s.cfg.Positions)
	}
	switch {
	case wrongLast(e.Code):
		return errRaced
	case e.Code == codeStoreFailed:
		switch {
		case strings.Contains(e.Description, "per subject"):
			return errBoxFull
		case strings.Contains(e.Description, "maximum"):
			s.stats.rejected.Add(1)
			return limit
		}
	case e.Code == codeStorageExceeded, e.Code == codeInsufficient:
		s.stats.rejected.Add(1)
		return fmt.Errorf("%w: %w", store.ErrFull, e)
	}
	return s.unavailable(e)
}
