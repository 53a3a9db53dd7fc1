package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Unread is what a box has behind an offset.
type Unread struct {
	// Messages in order, the oldest. Those that have expired are among them, for
	// their offsets: see Message.Expired.
	Messages []Message
	// Rest are the offsets of those behind them, for At.
	Rest []uint64
	// Gap tells that there may have been messages behind the offset that was
	// asked for and before the first of these, or, if there are none, now: they
	// were dropped at a limit, or were too old.
	Gap bool
}

// query is JetStream's request for a direct get.
type query struct {
	Seq  uint64 `json:"seq,omitempty"`
	Next string `json:"next_by_subj,omitempty"`
	Last string `json:"last_by_subj,omitempty"`
}

// Read returns what a box has behind an offset, 0 for the beginning: messages as
// long as their payloads have no more than so many bytes, one at the least, and
// the offsets of all others.
//
// It follows the links from the last message back to the offset. JetStream finds
// the last message of a subject and a message by its sequence in constant time,
// and the next one of a subject by looking at all that came between.
func (s *Store) Read(ctx context.Context, b Box, after uint64, bytes int) (Unread, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var u Unread
	var first *Message // the oldest so far
	size := 0
	m, err := s.last(ctx, b)
	for ; m != nil && m.Offset > after; m, err = s.at(ctx, b, m.Prev) {
		first = m
		u.Messages = append(u.Messages, *m)
		size += len(m.Payload)
		for size > bytes && len(u.Messages) > 1 { // the newest are for later
			size -= len(u.Messages[0].Payload)
			u.Rest = append(u.Rest, u.Messages[0].Offset)
			u.Messages[0] = Message{}
			u.Messages = u.Messages[1:]
		}
		if m.Prev <= after {
			m = nil
			break
		}
	}
	if err != nil {
		return Unread{}, err
	}
	slices.Reverse(u.Messages)
	slices.Reverse(u.Rest)
	s.stats.read.Add(int64(len(u.Messages)))
	u.Gap, err = s.gap(ctx, b, after, first, m)
	return u, err
}

// At returns the message of a box at an offset, nil if there is none.
func (s *Store) At(ctx context.Context, b Box, offset uint64) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	s.stats.read.Add(1)
	return s.at(ctx, b, offset)
}

func (s *Store) at(ctx context.Context, b Box, offset uint64) (*Message, error) {
	if offset == 0 {
		return nil, nil
	}
	in, err := s.ask(ctx, b.stream, query{Seq: offset})
	if in == nil && err == nil && s.replicated.Load() {
		in, err = s.askAgain(ctx, b.stream, offset)
	}
	if in == nil || err != nil {
		return nil, err
	}
	if subject := in.Header.Get("Nats-Subject"); subject != b.subject {
		return nil, fmt.Errorf("%w: message %d is not of this box", ErrDamaged, offset)
	}
	m := new(Message)
	return m, m.parse(in)
}

// gap tells whether there may have been something between an offset and the
// first message behind it, nil if there is none. before is the last one at or
// before the offset, if there was none behind it.
func (s *Store) gap(ctx context.Context, b Box, after uint64, first, before *Message) (bool, error) {
	switch {
	case first != nil && first.Prev > 0:
		return first.Prev > after, nil
	case after == 0: // nothing is known to have been there
		return false, nil
	case first == nil && before != nil: // the box ends there
		return false, nil
	}
	// Whether the box had messages before is not known any more. What grows old,
	// or makes room on the disk, goes from the beginning of the stream.
	st, err := s.state(ctx, b.stream)
	return st.First > after+1, err
}

// Last returns the offset of the last message in a box, 0 if there is none. It
// costs one request, and in the common case that there is none nothing is read.
func (s *Store) Last(ctx context.Context, b Box) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	m, err := s.last(ctx, b)
	if m == nil {
		return 0, err
	}
	return m.Offset, err
}

// Before returns the offset of the last message that was stored before a time, by
// the clock of NATS, 0 if there is none.
func (s *Store) Before(ctx context.Context, b Box, then time.Time) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	m, err := s.last(ctx, b)
	for m != nil && !m.Stored.Before(then) {
		prev := m.Prev
		if m, err = s.at(ctx, b, prev); m == nil {
			return prev, err
		}
	}
	if m == nil {
		return 0, err
	}
	return m.Offset, err
}

// Newest returns the greatest offset that was ever given to a message of any box
// of that kind.
func (s *Store) Newest(ctx context.Context, b Box) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	st, err := s.state(ctx, b.stream)
	return st.Last, err
}

// last returns the last message of a box, nil if there is none.
func (s *Store) last(ctx context.Context, b Box) (*Message, error) {
	return s.get(ctx, b.stream, query{Last: b.subject})
}

// first returns the first message of a box, nil if there is none.
func (s *Store) first(ctx context.Context, b Box) (*Message, error) {
	return s.get(ctx, b.stream, query{Next: b.subject, Seq: 1})
}

func (s *Store) get(ctx context.Context, stream string, q query) (*Message, error) {
	in, err := s.ask(ctx, stream, q)
	if in == nil || err != nil {
		return nil, err
	}
	m := new(Message)
	return m, m.parse(in)
}

// ask makes a direct get with one answer, nil if there is no such message. Any
// replica answers, one that is behind too: so who wants the end asks the leader.
func (s *Store) ask(ctx context.Context, stream string, q query) (*nats.Msg, error) {
	if !s.prepared.Load() {
		return nil, s.unavailable(errors.New("the streams are not there yet"))
	}
	if s.replicated.Load() && q.Last != "" {
		return s.askLeader(ctx, stream, q)
	}
	in, err := s.nc.RequestWithContext(ctx, directGet+stream, q.encode())
	if err != nil {
		return nil, s.unavailable(err)
	}
	switch status := in.Header.Get("Status"); status {
	case "":
		return in, nil
	case "404":
		return nil, nil
	default:
		return nil, s.unavailable(fmt.Errorf("direct get: %s %s", status, in.Header.Get("Description")))
	}
}

const directGet = "$JS.API.DIRECT.GET."

func (q query) encode() []byte {
	b, err := json.Marshal(q)
	if err != nil {
		panic("BUG: inbox: " + err.Error())
	}
	return b
}
