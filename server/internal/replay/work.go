package replay

import (
	"context"
	"errors"
	"net/netip"

	"fanfare/server/store"
)

// job is one request to the store, with the state that it was made for.
type job struct {
	kind    jobKind
	session *session
	st      *stream
	box     store.Box
	user    string
	addr    netip.Addr // the client's
	epoch   string
	offset  uint64
	want    uint64 // read: that of the stream
	bytes   int
	quick   bool // locate: an empty box is all that needs to be known
	// deleted is how many deletions there were in the box when a message was asked for.
	deleted uint64
}

type jobKind uint8

const (
	jobNone jobKind = iota
	jobLocate
	jobCheck
	jobRead
	jobGet
)

// answer is what the store said.
type answer struct {
	err       error
	place     place
	epoch     string
	continues bool
	last      uint64
	page      store.Page
	message   *store.Message
}

// plan returns the next thing to ask the store for. If there is none it writes what
// is due, leaves the state working, and returns jobNone.
func (s *session) plan() (j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != working {
		return job{} // closed
	}
	if s.stopped() {
		s.move(evDone)
		return job{}
	}
	full := false
	s.each(func(st *stream) bool {
		switch {
		case !st.placed:
			j = job{kind: jobLocate, session: s, st: st, box: st.box, user: s.reader(st), addr: s.receiver.Address(), quick: s.quick(st)}
		case st.check:
			st.check = false
			j = job{kind: jobCheck, st: st, box: st.box, epoch: st.epoch, offset: st.sent}
		case !st.pending() && s.mayBegin(st):
			if !st.begun {
				s.begin(st)
				s.mark()
			}
		case !st.pending() || full || !s.mayWrite(st):
			full = true // streams that follow may still begin
		case len(st.rest) > 0:
			j = job{kind: jobGet, st: st, box: st.box, epoch: st.epoch, offset: st.rest[0]}
		default:
			j = job{kind: jobRead, st: st, box: st.box, epoch: st.epoch, offset: st.sent, want: st.want, bytes: s.roomLeft()}
		}
		return j.kind == jobNone
	})
	switch {
	case j.kind != jobNone:
		j.deleted = s.svc.deletions.count(j.box)
	case full:
		s.sendPing()
		if s.ping != nil && !s.noAcks {
			s.move(evDone) // the pong goes on
		} else {
			s.pause(roomDelay)
		}
	default:
		s.rest()
	}
	return j
}

// rest leaves the state working with nothing left to read. The caller holds mu.
func (s *session) rest() {
	s.releasing = true
	s.flushHeld(false)
	s.sendPing()
	switch {
	case s.owesPing():
		s.pause(roomDelay)
	case s.disposable():
		s.dispose()
	default:
		s.move(evDone)
	}
}

// perform asks the store. No lock is held.
func (v *Service) perform(ctx context.Context, j job) (a answer) {
	db := v.cfg.Store
	switch j.kind {
	case jobLocate:
		a.place, a.err = v.locate(ctx, j)
		return a
	case jobCheck:
		a.epoch, a.continues, a.last, a.err = v.check(ctx, j)
		return a
	case jobRead:
		a.page, a.err = db.Read(ctx, j.box, j.offset, j.bytes)
	case jobGet:
		a.message, a.err = db.Get(ctx, j.box, j.offset)
	}
	if a.epoch = db.Epoch(j.box); a.epoch == "" && a.err == nil {
		a.err = store.ErrUnavailable
	}
	return a
}

// apply acts on an answer, unless what it is about has ended, and reports whether
// the caller still is the worker of the session.
func (s *session) apply(j job, a answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != working {
		return false // closed
	}
	if !j.st.ended {
		s.applyTo(j.st, j, a)
	}
	return s.state == working
}

func (s *session) applyTo(st *stream, j job, a answer) {
	if a.err != nil && !(errors.Is(a.err, store.ErrDamaged) && (j.kind == jobRead || j.kind == jobGet)) {
		if j.kind == jobCheck {
			st.check = true
		}
		if a.err != errEpochChanged {
			s.storeFailed()
		}
		return
	}
	switch j.kind {
	case jobLocate:
		s.located(st, a.place)
	case jobCheck:
		s.checked(st, a)
	case jobRead, jobGet:
		if a.epoch != st.epoch {
			st.check = true // of another history, or whether it is must be found out
			return
		}
		if s.svc.deletions.count(st.box) != j.deleted {
			return // ask again: it may be deleted
		}
		if j.kind == jobRead {
			s.page(st, j.want, a)
		} else {
			s.one(st, a)
		}
	}
}

// storeFailed pauses the session. Live messages do not wait for the store: they are
// flushed.
func (s *session) storeFailed() {
	s.releasing = true
	s.flushHeld(false)
	s.sendPing()
	s.pause(storeDelay)
}

// page writes what Read returned, as far as there is room. want is what was known to be stored
// when it was called.
func (s *session) page(st *stream, want uint64, a answer) {
	messages := a.page.Messages
	if a.err != nil {
		s.damaged(st, a.err)
		st.tries = lagTries
	}
	if len(messages) == 0 {
		if st.tries++; st.tries <= lagTries && !a.page.Gap {
			s.storeFailed()
			return
		}
		if st.want > want {
			return // another message was announced meanwhile: read again
		}
		// It was removed. sent stays: should there be a message after all, the
		// next notice finds it.
		st.tries, st.want, st.need, st.gap = 0, st.sent, 0, true
		return
	}
	st.tries = 0
	st.gap = st.gap || a.page.Gap
	st.rest = a.page.Rest
	for i := range messages {
		if !s.write(st, &messages[i]) {
			left := make([]uint64, 0, len(messages)-i+len(st.rest))
			for _, m := range messages[i:] {
				left = append(left, m.Offset)
			}
			st.rest = append(left, st.rest...)
			return
		}
	}
}

// one writes what Get returned.
func (s *session) one(st *stream, a answer) {
	if a.err != nil {
		s.damaged(st, a.err)
	}
	if a.message == nil || a.err != nil {
		s.skip(st, st.rest[0])
		st.rest = st.rest[1:]
		return
	}
	if s.write(st, a.message) {
		st.rest = st.rest[1:]
	}
}

func (s *session) damaged(st *stream, err error) {
	s.svc.counters.damaged.Add(1)
	s.svc.cfg.Logger.Error("stored messages cannot be read", "user", s.reader(st), "topic", st.box.Topic, "err", err)
}
