package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Entry is a message to be stored.
type Entry struct {
	// ID makes a repetition harmless: within Config.Window, a second Append to
	// the box with the same ID stores nothing and has the answer of the first.
	// Empty: every Append is a message of its own.
	ID string
	// Binary tells what kind of WebSocket message it is.
	Binary bool
	// TTL is how long anybody wants it; 0: as long as it is kept.
	TTL     time.Duration
	Payload []byte
}

// Receipt says where a message is.
type Receipt struct {
	Offset uint64
	// Prev is the message's link, and valid unless it is a duplicate.
	Prev      uint64
	Duplicate bool
	// Expires is when it does; zero if never.
	Expires time.Time
}

// Append stores a message and returns when it is. Errors: ErrFull, ErrTooBig,
// ErrUnavailable. Appends to one box by one Store are stored in the order in
// which Append was called.
func (s *Store) Append(ctx context.Context, to Box, e Entry) (Receipt, error) {
	return s.Begin(to, e).Finish(ctx)
}

// Pending is an Append that has its place in the order.
type Pending struct {
	store *Store
	to    Box
	entry Entry
	turn  turn
}

// Begin takes a place in the order of Appends to a box. Finish must be called,
// from any goroutine: others wait for it.
func (s *Store) Begin(to Box, e Entry) Pending {
	return Pending{s, to, e, s.tails.enter(to)}
}

// attempts to append where somebody else does so at the same time. Each round
// one of them gets through.
const attempts = 32

// Finish is the rest of Append.
func (p Pending) Finish(ctx context.Context) (Receipt, error) {
	s, t := p.store, p.turn.tail
	defer p.turn.leave()
	ctx, cancel := s.within(ctx)
	defer cancel()
	if p.turn.before != nil {
		<-p.turn.before // bounded by the others' Timeouts
	}
	if err := s.Ready(); err != nil {
		s.stats.unavailable.Add(1)
		return Receipt{}, err
	}
	size := int64(len(p.entry.Payload))
	if size > s.cfg.Bytes || size > s.nc.MaxPayload()-headroom {
		return Receipt{}, fmt.Errorf("%w: %d bytes", ErrTooBig, size)
	}
	for i := range attempts {
		if !t.known {
			if err := s.lookup(ctx, p.to, t); err != nil {
				return Receipt{}, err
			}
		}
		if t.sum+size-t.base > s.cfg.Bytes {
			if err := s.makeRoom(ctx, p.to, t, size); err != nil {
				return Receipt{}, err
			}
		}
		r, err := p.publish(ctx, t)
		switch {
		case err == nil:
			return r, nil
		case errors.Is(err, errRaced):
			t.known = false
			if s.replicated.Load() && i > 0 {
				// The replica that was asked may be behind.
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
		case errors.Is(err, errBoxFull):
			if n, e := s.purgeRead(ctx, p.to); e != nil || n == 0 {
				s.stats.refused.Add(1)
				return Receipt{}, fmt.Errorf("%w: %d messages are unread", ErrFull, s.cfg.Messages)
			}
		default:
			// It may have been stored, so nothing is known any more.
			t.known = false
			return Receipt{}, err
		}
	}
	return Receipt{}, s.unavailable(errors.New("too many others append to the same box"))
}

// headroom is for headers, in bytes: an ID and a name of 256 each, and links.
const headroom = 4 << 10

var (
	errRaced   = errors.New("inbox: somebody else was first")
	errBoxFull = errors.New("inbox: the box is full")
)

// lookup reads the end of a box. What was known is kept where it goes further: a
// last message that is gone leaves its offset as the link of the next.
func (s *Store) lookup(ctx context.Context, b Box, t *tail) error {
	m, err := s.last(ctx, b)
	if err != nil {
		return err
	}
	if m == nil {
		t.last, t.base = 0, t.sum
	} else {
		t.last, t.sum = m.Offset, m.sum
		t.prev = max(t.prev, m.Offset)
		t.base = min(t.base, t.sum)
	}
	t.known = true
	return nil
}

// publish stores the message if the box ends where we think.
func (p Pending) publish(ctx context.Context, t *tail) (Receipt, error) {
	s, size := p.store, int64(len(p.entry.Payload))
	m := Message{Prev: t.prev, Binary: p.entry.Binary, sum: t.sum + size}
	if p.entry.TTL > 0 {
		m.Expires = time.Now().Add(p.entry.TTL)
	}
	out := &nats.Msg{Subject: p.to.subject, Data: p.entry.Payload, Header: nats.Header{
		linkHeader:                            {m.link()},
		"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(t.last, 10)},
	}}
	if p.entry.ID != "" {
		out.Header["Nats-Msg-Id"] = []string{Token(p.entry.ID) + "." + p.to.subject}
	}
	in, err := s.nc.RequestMsgWithContext(ctx, out)
	if err != nil {
		return Receipt{}, s.unavailable(err)
	}
	var ack struct {
		Seq       uint64    `json:"seq"`
		Duplicate bool      `json:"duplicate"`
		Error     *apiError `json:"error"`
	}
	if err := json.Unmarshal(in.Data, &ack); err != nil {
		return Receipt{}, s.unavailable(err)
	}
	if ack.Error != nil {
		return Receipt{}, s.refusal(ack.Error)
	}
	if ack.Duplicate {
		s.stats.duplicates.Add(1)
		return Receipt{Offset: ack.Seq, Duplicate: true}, nil
	}
	t.last, t.prev, t.sum = ack.Seq, ack.Seq, m.sum
	s.stats.appended.Add(1)
	return Receipt{Offset: ack.Seq, Prev: m.Prev, Expires: m.Expires}, nil
}

// JetStream's error codes, of its errors.json.
const (
	codeWrongLast         = 10071
	codeWrongLastConstant = 10164
	codeStoreFailed       = 10077 // a limit of the stream, in words
	codeStorageExceeded   = 10047
	codeInsufficient      = 10023
)

func (s *Store) refusal(e *apiError) error {
	switch e.Code {
	case codeWrongLast, codeWrongLastConstant:
		return errRaced
	case codeStoreFailed:
		switch {
		case strings.Contains(e.Description, "per subject"):
			return errBoxFull
		case strings.Contains(e.Description, "maximum"):
			s.stats.refused.Add(1)
			return fmt.Errorf("%w: %d bytes are stored", ErrFull, s.cfg.Disk)
		}
	case codeStorageExceeded, codeInsufficient:
		s.stats.refused.Add(1)
		return fmt.Errorf("%w: %w", ErrFull, e)
	}
	return s.unavailable(e)
}
