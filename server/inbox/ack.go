package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// acks are positions that users have read to and that are not stored yet. They
// only ever grow, so many become one.
type acks struct {
	mu      sync.Mutex
	waiting map[string]uint64 // by user; guarded by mu
	storing map[string]uint64 // guarded by mu
	wake    chan struct{}
}

func (a *acks) init() {
	a.waiting = make(map[string]uint64)
	a.wake = make(chan struct{}, 1)
}

const (
	// ackDelay gathers acknowledgements: a crash within it costs doubles.
	ackDelay = 50 * time.Millisecond
	// ackRetry is how long a NATS that does not answer is left alone.
	ackRetry = time.Second
	// ackWriters at a time.
	ackWriters = 32
)

// Ack notes that a user has read everything up to an offset. It returns at once;
// the position is stored soon, and never goes back.
func (s *Store) Ack(user string, offset uint64) {
	a := &s.acks
	a.mu.Lock()
	a.waiting[user] = max(a.waiting[user], offset)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Acked returns up to where a user has read on any device, 0 for nowhere.
func (s *Store) Acked(ctx context.Context, user string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	s.acks.mu.Lock()
	known := max(s.acks.waiting[user], s.acks.storing[user])
	s.acks.mu.Unlock()
	stored, _, err := s.storedAck(ctx, Token(user))
	return max(known, stored), err
}

// storedAck returns the position that is stored for a user, given as a token, and
// the sequence of that message.
func (s *Store) storedAck(ctx context.Context, token string) (offset uint64, at string, err error) {
	in, err := s.ask(ctx, ackStream, query{Last: ackPrefix + token})
	if in == nil || err != nil {
		return 0, "0", err
	}
	offset, err = strconv.ParseUint(string(in.Data), 10, 64)
	if err != nil {
		return 0, "", errors.Join(ErrDamaged, err)
	}
	return offset, in.Header.Get("Nats-Sequence"), nil
}

// runAcks stores positions until the store is closed, and what is left then.
func (s *Store) runAcks() {
	for {
		select {
		case <-s.quit:
			s.storeAcks()
			return
		case <-s.acks.wake:
		}
		delay := ackDelay
		if !s.storeAcks() {
			delay = ackRetry
		}
		select {
		case <-s.quit:
		case <-time.After(delay):
		}
	}
}

// storeAcks stores all that wait. It reports false if some could not be stored:
// they wait on.
func (s *Store) storeAcks() bool {
	a := &s.acks
	a.mu.Lock()
	a.storing, a.waiting = a.waiting, make(map[string]uint64)
	batch := a.storing
	a.mu.Unlock()
	type position struct {
		user   string
		offset uint64
	}
	work := make(chan position)
	failed := make(chan position, len(batch))
	var writers sync.WaitGroup
	for range min(ackWriters, len(batch)) {
		writers.Go(func() {
			down := false
			for p := range work {
				if !down && s.storeAck(p.user, p.offset) != nil {
					down = true // the others would wait as long
				}
				if down {
					failed <- p
				}
			}
		})
	}
	for user, offset := range batch {
		work <- position{user, offset}
	}
	close(work)
	writers.Wait()
	close(failed)
	a.mu.Lock()
	a.storing = nil
	ok := true
	for p := range failed {
		a.waiting[p.user] = max(a.waiting[p.user], p.offset)
		ok = false
	}
	a.mu.Unlock()
	if !ok {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// storeAck stores one position, unless one as far is there. Other nodes do the
// same, so it is compared and swapped.
func (s *Store) storeAck(user string, offset uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	for {
		stored, at, err := s.storedAck(ctx, Token(user))
		if err != nil && !errors.Is(err, ErrDamaged) { // a damaged one is replaced
			return err
		}
		if stored >= offset {
			return nil
		}
		out := &nats.Msg{Subject: ackPrefix + Token(user), Data: strconv.AppendUint(nil, offset, 10), Header: nats.Header{}}
		if at != "" {
			out.Header["Nats-Expected-Last-Subject-Sequence"] = []string{at}
		}
		in, err := s.nc.RequestMsgWithContext(ctx, out)
		if err != nil {
			return s.unavailable(err)
		}
		var ack struct {
			Error *apiError `json:"error"`
		}
		if err := json.Unmarshal(in.Data, &ack); err != nil {
			return s.unavailable(err)
		}
		if ack.Error == nil {
			s.stats.acked.Add(1)
			return nil
		}
		if err := s.refusal(ack.Error); !errors.Is(err, errRaced) {
			return err
		}
	}
}
