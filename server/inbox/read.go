package inbox

import (
	"context"
	"slices"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// Read returns the messages after an offset, 0 for the beginning: as many as have
// payloads of at most maxBytes together, at least one, and the offsets of all that
// follow.
//
// It follows the links from the last message back to the offset. JetStream finds
// the last message of a subject, and a message by its sequence, in constant time,
// and the next one of a subject only by looking at all between.
func (s *Store) Read(ctx context.Context, to store.Box, after uint64, maxBytes int) (store.Page, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return store.Page{}, err
	}
	defer cancel()
	b := subject.Of(to)
	var p page
	end := s.end(b) // first: what is stored meanwhile was not removed
	m, err := s.last(ctx, b)
	for m != nil && m.Offset > after && err == nil {
		p.add(m, maxBytes)
		if m.Prev <= after {
			break
		}
		next := m.Offset
		if m, err = s.at(ctx, b, m.Prev); m == nil && err == nil {
			// A message in the middle is missing, or the oldest were removed.
			p.broken = true
			m, err = s.preceding(ctx, b, after, next)
		}
	}
	if err != nil {
		return store.Page{}, err
	}
	slices.Reverse(p.Messages)
	slices.Reverse(p.Rest)
	s.stats.read.Add(int64(len(p.Messages)))
	if p.first == 0 && m == nil && end > 0 { // all were removed
		if end <= after {
			return store.Page{}, nil
		}
		// A marker in their place, which has expired, lets readers that were told of the gap go on.
		p.Messages = []store.Message{{Offset: end, Expires: time.UnixMilli(1)}}
		p.Gap = true
		return p.Page, nil
	}
	p.Gap, err = s.gap(ctx, b, after, &p, m)
	return p.Page, err
}

// page gathers messages, the newest first.
type page struct {
	store.Page
	size   int
	first  uint64 // offset of the oldest so far, 0: none
	prev   uint64 // its link
	broken bool   // a link led to a message that is not there
}

// add adds the next older message; the newest are left for later where there are
// too many bytes.
func (p *page) add(m *message, maxBytes int) {
	p.first, p.prev = m.Offset, m.Prev
	p.Messages = append(p.Messages, m.Message)
	p.size += len(m.Payload)
	for p.size > maxBytes && len(p.Messages) > 1 {
		p.size -= len(p.Messages[0].Payload)
		p.Rest = append(p.Rest, p.Messages[0].Offset)
		p.Messages[0] = store.Message{}
		p.Messages = p.Messages[1:]
	}
}

// preceding returns the last message of a box between two offsets, by looking at
// all of them; nil if there is none.
func (s *Store) preceding(ctx context.Context, b subject.Box, after, before uint64) (last *message, err error) {
	for {
		m, err := s.find(ctx, b.Kind, query{next: b.Subject, seq: after + 1})
		if m == nil || err != nil || m.Offset >= before {
			return last, err
		}
		last, after = m, m.Offset
	}
}

// gap reports whether there may have been messages after an offset and before the
// first of a page, or inside it. before is the last message at or before the
// offset, if there is none after it.
func (s *Store) gap(ctx context.Context, b subject.Box, after uint64, p *page, before *message) (bool, error) {
	switch {
	case p.broken:
		return true, nil
	case p.first > 0 && p.prev > 0:
		return p.prev > after, nil
	case after == 0: // nothing is known to have been there
		return false, nil
	case p.first == 0 && before != nil: // the box ends there
		return false, nil
	}
	// Whether the box had messages before is not known any more. What expires, or
	// makes room on the disk, goes from the beginning of the stream.
	st, err := s.state(ctx, b.Kind)
	return st.First > after+1, err
}

// Get returns the message at an offset, nil if there is none.
func (s *Store) Get(ctx context.Context, to store.Box, offset uint64) (*store.Message, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	s.stats.read.Add(1)
	m, err := s.at(ctx, subject.Of(to), offset)
	if m == nil || err != nil {
		return nil, err
	}
	return &m.Message, nil
}

// Last returns the offset of the last message of the box, 0 if it is empty. It may have been
// removed to make room: Read then returns a gap. For most users without messages an embedded
// store knows that without asking JetStream.
func (s *Store) Last(ctx context.Context, to store.Box) (uint64, error) {
	if empty, err := s.knownEmpty(to); empty || err != nil {
		return 0, err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	b := subject.Of(to)
	end := s.end(b)
	m, err := s.last(ctx, b)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return end, nil
	}
	return m.Offset, nil
}

var _ store.Emptier = (*Store)(nil)

// Empty reports whether nothing was ever appended to a box, as far as an embedded store
// remembers without asking JetStream; see store.Emptier. An append enters the name of its
// box before it stores anything.
func (s *Store) Empty(b store.Box) bool {
	empty, err := s.knownEmpty(b)
	return empty && err == nil
}

// knownEmpty reports whether nothing was ever appended to a box of an embedded
// store, as far as it remembers.
func (s *Store) knownEmpty(to store.Box) (bool, error) {
	if s.local == nil {
		return false, nil
	}
	if err := s.usable(); err != nil {
		s.stats.unavailable.Add(1)
		return false, err
	}
	if to.Topic != "" {
		return !s.filled.Has(account.HashName(subject.Topic, subject.Token(to.Topic))), nil
	}
	return !s.filled.Has(account.HashName(subject.Inbox, subject.Token(to.User))), nil
}

// Before returns the offset of the last message that was certainly stored before a time of
// this machine's clock, 0 if there is none.
func (s *Store) Before(ctx context.Context, to store.Box, t time.Time) (uint64, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	b := subject.Of(to)
	end := s.end(b) // first: what is stored meanwhile may be later than t
	if s.local == nil {
		t = s.clocks[b.Kind].earliest(t)
	}
	m, err := s.last(ctx, b)
	if m == nil && err == nil {
		return end, nil // what is removed was stored earlier
	}
	for m != nil && err == nil && !m.Stored.Before(t) {
		prev := m.Prev
		if m, err = s.at(ctx, b, prev); m == nil {
			return prev, err
		}
	}
	if m == nil || err != nil {
		return 0, err
	}
	return m.Offset, nil
}
