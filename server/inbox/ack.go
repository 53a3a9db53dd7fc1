package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// acks are positions that users have read to and that are not stored yet. They
// only ever grow, so many become one.
type acks struct {
	mu      sync.Mutex
	waiting map[string]position // by subject; guarded by mu
	storing map[string]position // guarded by mu
	wake    chan struct{}
}

// position in a box.
type position struct {
	offset uint64
	renew  bool // it is stored again if it is there, and so gets no older
}

func (a *acks) init() {
	a.waiting = make(map[string]position)
	a.wake = make(chan struct{}, 1)
}

// addLocked notes a position, unless a later one is there.
func (a *acks) addLocked(subject string, p position) {
	was := a.waiting[subject]
	a.waiting[subject] = position{max(was.offset, p.offset), was.renew || p.renew}
}

// reader is the subject under which is stored how far a user has read in a box,
// the user's own or a topic.
func (b Box) reader(user string) string {
	if b.stream == inboxStream {
		return ackPrefix + strings.TrimPrefix(b.subject, inboxPrefix)
	}
	return ackPrefix + Token(user) + "." + strings.TrimPrefix(b.subject, topicPrefix)
}

const (
	// ackDelay gathers acknowledgements: a crash within it costs doubles.
	ackDelay = 50 * time.Millisecond
	// ackRetry is how long a NATS that does not answer is left alone.
	ackRetry = time.Second
	// ackWriters at a time.
	ackWriters = 32
)

// Ack notes that a user has read everything up to an offset of a box, the user's
// own or a topic. It returns at once; the position is stored soon, and never goes
// back. 0 notes that the user was there, at the beginning.
func (s *Store) Ack(b Box, user string, offset uint64) {
	s.note(b.reader(user), position{offset: offset})
}

// AckNow is Ack that returns when the position is stored.
func (s *Store) AckNow(ctx context.Context, b Box, user string, offset uint64) error {
	return s.storeAck(ctx, b.reader(user), position{offset: offset})
}

// RenewEvery is how often Renew is to be called for those who follow a topic.
func (s *Store) RenewEvery() time.Duration { return s.cfg.Age / 2 }

// Renew is Ack for a position that is stored already and shall not grow old.
func (s *Store) Renew(b Box, user string, offset uint64) {
	s.note(b.reader(user), position{offset, true})
}

func (s *Store) note(subject string, p position) {
	a := &s.acks
	a.mu.Lock()
	a.addLocked(subject, p)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Acked returns up to where a user has read in a box on any device, and whether
// anything is known of that. What it returns is stored: if that could still be lost,
// or were not known to other nodes yet, a device that began behind it here would be
// sent older messages elsewhere.
func (s *Store) Acked(ctx context.Context, b Box, user string) (offset uint64, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	subject := b.reader(user)
	s.acks.mu.Lock()
	waiting, isWaiting := s.acks.waiting[subject]
	storing, isStoring := s.acks.storing[subject]
	s.acks.mu.Unlock()
	stored, err := s.storedAck(ctx, subject)
	if err != nil {
		return 0, false, err
	}
	known = stored.at != "0"
	if b.stream == topicStream && known && time.Since(stored.when) > s.RenewEvery() {
		s.Renew(b, user, stored.offset)
	}
	offset = max(waiting.offset, storing.offset)
	if (isWaiting || isStoring) && (offset > stored.offset || !known) {
		return offset, true, s.AckNow(ctx, b, user, offset)
	}
	return stored.offset, known, nil
}

// storedPosition is one as JetStream has it.
type storedPosition struct {
	offset uint64
	at     string // the sequence of that message; "0": there is none; empty: unreadable
	when   time.Time
}

// storedAck returns the position that is stored under a subject.
func (s *Store) storedAck(ctx context.Context, subject string) (storedPosition, error) {
	in, err := s.ask(ctx, ackStream, query{Last: subject})
	if in == nil || err != nil {
		return storedPosition{at: "0"}, err
	}
	offset, err := strconv.ParseUint(string(in.Data), 10, 64)
	if err != nil {
		return storedPosition{}, errors.Join(ErrDamaged, err)
	}
	when, _ := time.Parse(time.RFC3339Nano, in.Header.Get("Nats-Time-Stamp"))
	return storedPosition{offset, in.Header.Get("Nats-Sequence"), when}, nil
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
	a.storing, a.waiting = a.waiting, make(map[string]position)
	batch := a.storing
	a.mu.Unlock()
	work := make(chan string)
	failed := make(chan string, len(batch))
	var writers sync.WaitGroup
	for range min(ackWriters, len(batch)) {
		writers.Go(func() {
			down := false
			for subject := range work {
				if !down && s.storeAck(context.Background(), subject, batch[subject]) != nil {
					down = true // the others would wait as long
				}
				if down {
					failed <- subject
				}
			}
		})
	}
	for subject := range batch {
		work <- subject
	}
	close(work)
	writers.Wait()
	close(failed)
	a.mu.Lock()
	a.storing = nil
	ok := true
	for subject := range failed {
		a.addLocked(subject, batch[subject])
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
func (s *Store) storeAck(ctx context.Context, subject string, p position) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	for i := 0; ; i++ {
		if i > 0 { // others are at it
			time.Sleep(time.Duration(min(i, 20)) * time.Millisecond)
		}
		stored, err := s.storedAck(ctx, subject)
		if err != nil && !errors.Is(err, ErrDamaged) { // a damaged one is replaced
			return err
		}
		if stored.offset >= p.offset && stored.at != "0" && !p.renew {
			return nil
		}
		out := &nats.Msg{Subject: subject, Data: strconv.AppendUint(nil, max(stored.offset, p.offset), 10), Header: nats.Header{}}
		if stored.at != "" {
			out.Header["Nats-Expected-Last-Subject-Sequence"] = []string{stored.at}
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
