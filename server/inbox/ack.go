package inbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/publisher"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// acks holds acknowledged positions that are not stored yet. A position only grows, so
// several acknowledgements of one box become one write.
type acks struct {
	mu      sync.Mutex
	waiting map[string]position // by name; guarded by mu
	storing map[string]position // guarded by mu
	wake    chan struct{}
	recent  recentPositions
}

// position is a place in a box.
type position struct {
	offset uint64
	renew  bool // store it again if it is stored already, so that it does not expire
	always bool // store it although the box is empty
}

func (a *acks) init() {
	a.waiting = make(map[string]position)
	a.wake = make(chan struct{}, 1)
}

// addLocked adds a position, unless a later one is there.
func (a *acks) addLocked(name string, p position) {
	was := a.waiting[name]
	a.waiting[name] = position{max(was.offset, p.offset), was.renew || p.renew, was.always || p.always}
}

// pending returns the position under a name that is not stored yet.
func (a *acks) pending(b store.Box, user string) (offset uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting)+len(a.storing) == 0 {
		return 0, false
	}
	name := subject.PositionName(b, user)
	waiting, isWaiting := a.waiting[name]
	storing, isStoring := a.storing[name]
	return max(waiting.offset, storing.offset), isWaiting || isStoring
}

const (
	// ackDelay gathers acknowledgements: a crash within it costs duplicates.
	ackDelay = 50 * time.Millisecond
	// ackRetry separates attempts at a NATS that does not answer.
	ackRetry = time.Second
	// ackWriters at a time.
	ackWriters = 32
)

// Ack stores a position soon. A crash before that costs duplicates.
//
// A position 0 of an empty box is stored by AckSync only: its caller knows that the
// user did not invent the box.
func (s *Store) Ack(b store.Box, user string, offset uint64) {
	s.note(subject.PositionName(b, user), position{offset: offset})
}

// AckSync is Ack that returns when the position is stored. It returns ErrFull for a
// new position when Config.Positions is reached.
func (s *Store) AckSync(ctx context.Context, b store.Box, user string, offset uint64) error {
	return s.storeAck(ctx, subject.PositionName(b, user), position{offset: offset, always: true})
}

// RenewInterval is how often Renew should be called for the subscribers of topics.
func (s *Store) RenewInterval() time.Duration { return s.cfg.Age / 2 }

// Renew keeps a stored position from expiring.
func (s *Store) Renew(b store.Box, user string, offset uint64) {
	s.note(subject.PositionName(b, user), position{offset: offset, renew: true})
}

func (s *Store) note(name string, p position) {
	a := &s.acks
	a.mu.Lock()
	a.addLocked(name, p)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Acked returns the offset up to which a user has acknowledged a box, and whether a
// position is stored at all. What it returns is stored: if it could still be lost,
// or other nodes did not know it yet, a session that begins there would be sent
// older messages elsewhere.
//
// Positions are removed only by age: known is false for a user who acknowledged
// nothing, and for one whose last change or renewal is more than twice Config.Age
// ago, so that all messages of that time have expired. A new position for which
// the store has no room is rejected, by AckSync with ErrFull.
func (s *Store) Acked(ctx context.Context, b store.Box, user string) (offset uint64, known bool, err error) {
	pending, isPending := s.acks.pending(b, user)
	if !isPending && s.local != nil && !s.filled.Has(account.HashPosition(b, user)) {
		return 0, false, s.usable()
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer cancel()
	name := subject.PositionName(b, user)
	stored, err := s.storedPosition(ctx, name)
	if err != nil {
		return 0, false, err
	}
	known = stored.at != "0"
	if b.Topic != "" && known && s.now().Sub(stored.when) > s.RenewInterval() {
		s.Renew(b, user, stored.offset)
	}
	if isPending && (pending > stored.offset || !known) {
		if err := s.storeAck(ctx, name, position{offset: pending}); err != nil {
			return 0, false, err
		}
		if stored, err = s.storedPosition(ctx, name); err != nil {
			return 0, false, err
		}
	}
	return stored.offset, stored.at != "0", nil
}

// storedPosition is a position read from JetStream.
type storedPosition struct {
	offset uint64
	at     string // the sequence of that message; "0": none; empty: not readable
	when   time.Time
}

// storedPosition returns the position that is stored under a name.
func (s *Store) storedPosition(ctx context.Context, name string) (storedPosition, error) {
	in, err := s.get(ctx, subject.Ack, query{last: subject.Ack.Prefix() + name})
	if in == nil || err != nil {
		return storedPosition{at: "0"}, err
	}
	offset, err := strconv.ParseUint(string(in.Data), 10, 64)
	if err != nil {
		return storedPosition{}, errors.Join(store.ErrDamaged, err)
	}
	when, _ := time.Parse(time.RFC3339Nano, in.Header.Get("Nats-Time-Stamp"))
	return storedPosition{offset, in.Header.Get("Nats-Sequence"), when}, nil
}

// readPosition is storedPosition for storeAck: an embedded store knows the names under which
// nothing was ever stored.
func (s *Store) readPosition(bound *bound, name string) (storedPosition, error) {
	if s.local != nil && !s.filled.Has(account.HashName(subject.Ack, name)) {
		return storedPosition{at: "0"}, s.usable()
	}
	return s.storedPosition(bound.context(), name)
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

// storeAcks stores all that wait. It reports false if some could not be stored and
// wait on.
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
			for name := range work {
				if !down {
					err := s.storeAck(context.Background(), name, batch[name])
					down = err != nil && !errors.Is(err, store.ErrFull) // the others would wait as long
				}
				if down {
					failed <- name
				}
			}
		})
	}
	for name := range batch {
		work <- name
	}
	close(work)
	writers.Wait()
	close(failed)
	a.mu.Lock()
	a.storing = nil
	ok := true
	for name := range failed {
		a.addLocked(name, batch[name])
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

// storeAck stores a position, unless one as far is stored. Other nodes do the same,
// so it is compared and swapped.
func (s *Store) storeAck(ctx context.Context, name string, p position) error {
	bound := s.bound(ctx)
	defer bound.end()
	s.settle(ctx)
	if err := s.Ready(); err != nil {
		s.stats.unavailable.Add(1)
		return err
	}
	for i := 0; ; i++ {
		stored, recent := s.acks.recent.newest(name, p)
		if i > 0 || !recent {
			var err error
			stored, err = s.readPosition(bound, name)
			if err != nil && !errors.Is(err, store.ErrDamaged) { // a damaged one is replaced
				return err
			}
		}
		known := stored.at != "0"
		if known && stored.offset >= p.offset && !p.renew {
			return nil
		}
		if !known {
			if nothing, err := s.nothingToRemember(bound, name, p); nothing || err != nil {
				return err
			}
		}
		offset := max(stored.offset, p.offset)
		switch seq, err := s.putPosition(bound.publishing(), name, offset, stored); {
		case err == nil:
			if err := s.accountPosition(name, stored.when); err != nil {
				return err
			}
			s.acks.recent.put(name, storedPosition{offset, strconv.FormatUint(seq, 10), s.now()})
			s.stats.acked.Add(1)
			return nil
		case !errors.Is(err, errRaced):
			return err
		}
		if err := backOff(bound.context(), i); err != nil {
			return s.unavailable(err)
		}
	}
}

// boxOfPosition returns the box that a position is about.
func boxOfPosition(name string) subject.Box {
	if _, topic, ok := strings.Cut(name, "."); ok {
		return subject.Named(subject.Topic, topic)
	}
	return subject.Named(subject.Inbox, name)
}

// nothingToRemember reports whether a new position needs no record because its box is
// empty. It returns ErrFull if a record is needed and does not fit; otherwise a
// client could fill the store with invented topic names.
func (s *Store) nothingToRemember(bound *bound, name string, p position) (bool, error) {
	b := boxOfPosition(name)
	if p.offset == 0 && !p.always {
		if last, err := s.last(bound.context(), b); last == nil || err != nil {
			return true, err
		}
	}
	if b.Kind == subject.Topic && s.bytes[subject.Ack].Load() > s.cfg.Positions/2 {
		s.stats.rejected.Add(1)
		return true, fmt.Errorf("%w: positions of topics take half of Positions, which is %d bytes", store.ErrFull, s.cfg.Positions)
	}
	return false, nil
}

// putPosition stores a position in place of another, and returns the sequence of its message.
func (s *Store) putPosition(ctx context.Context, name string, offset uint64, stored storedPosition) (seq uint64, err error) {
	if s.local != nil {
		s.filled.Add(account.HashName(subject.Ack, name))
	}
	// All records of a name have one length: a full stream replaces a record only by
	// one that is not longer.
	out := publisher.Message{Subject: subject.Ack.Prefix() + name, Payload: fmt.Appendf(nil, "%020d", offset)}
	if stored.at != "" {
		at := strings.Repeat("0", max(20-len(stored.at), 0)) + stored.at
		out.Header = []publisher.Field{{Name: "Nats-Expected-Last-Subject-Sequence", Value: at}}
	}
	ack, err := s.publish(ctx, subject.Ack, &out)
	if err != nil {
		return 0, err
	}
	// About what the record takes, until the stream is asked again.
	if stored.at == "0" {
		s.bytes[subject.Ack].Add(int64(len(name)) + 100)
	}
	return ack.Seq, nil
}

// accountPosition adds a position to the account of an embedded store: a new one, and
// one that changes, once for each Config.Age, so that the entry does not expire
// before the position does.
func (s *Store) accountPosition(name string, before time.Time) error {
	now := s.now()
	if s.local == nil || before.UnixNano()/int64(s.cfg.Age) == now.UnixNano()/int64(s.cfg.Age) {
		return nil
	}
	if err := s.local.account.Position(name, now); err != nil {
		return s.accountFailed(err)
	}
	return nil
}
