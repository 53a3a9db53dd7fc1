package replay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"fanfare/server/store"
)

// outstanding is a ping that follows stored messages, until its pong comes.
type outstanding struct {
	serial  uint64
	flight  int // the bytes that its pong acknowledges
	marks   []mark
	largest inFlight
	wrong   uint8 // pongs with another payload since
	text    [20]byte
}

// outstandings saves an allocation for each stored message of each receiver.
var outstandings = sync.Pool{New: func() any { return &outstanding{marks: make([]mark, 0, 1)} }}

// mark says that everything up to an offset was written before the ping.
type mark struct {
	stream *stream
	epoch  string
	offset uint64
}

// sendPing sends a ping whose pong says that everything written before it has arrived. A
// client answers pings in order, or only the latest (RFC 6455, 5.5.3). One ping is
// outstanding at a time.
//
// The payload is a number that no other ping of this process has, so that a late
// pong, of this session or of an earlier one with a bug in its client, acknowledges
// nothing.
func (s *session) sendPing() {
	if !s.owesPing() || !s.fits(s.svc.reserve()) {
		return
	}
	q := outstandings.Get().(*outstanding)
	*q = outstanding{serial: s.svc.serial.Add(1), flight: s.flight, largest: s.largest, marks: q.marks[:0]}
	s.each(func(st *stream) bool {
		if st.sent != st.pinged {
			st.pinged = st.sent
			q.marks = append(q.marks, mark{st, st.epoch, st.sent})
		}
		return true
	})
	if !s.writePing(q) {
		return
	}
	s.ping, s.largest = q, inFlight{}
}

// owesPing reports whether messages wait for a ping to follow them.
func (s *session) owesPing() bool {
	return s.ping == nil && s.flight > 0 && s.pings && !s.stopped()
}

func (s *session) writePing(q *outstanding) bool {
	if !s.receiver.Ping(strconv.AppendUint(q.text[:0], q.serial, 10)) {
		s.broken = true
		return false
	}
	return true
}

// Pong is called for every pong of a session, including empty ones. It reports whether
// the pong answers the outstanding ping.
func (v *Service) Pong(r Receiver, payload []byte) (answered bool) {
	v.use(r, false, func(s *session) { answered = s.pong(payload) })
	return answered
}

func (s *session) pong(payload []byte) bool {
	q := s.ping
	if q == nil || s.broken || s.discarded.Load() {
		// The client may answer a ping that was dropped with the messages before
		// it, or has read only a part of them: they stay unread.
		return false
	}
	serial, err := strconv.ParseUint(string(payload), 10, 64)
	if err == nil && serial > 0 && serial < q.serial {
		return false // late, or a second answer to a ping that was repeated
	}
	if err != nil || serial != q.serial || len(payload) == 0 || payload[0] == '0' {
		s.wrongPong(q)
		return false
	}
	s.ping, s.noAcks = nil, false
	s.flight -= q.flight
	for _, m := range q.marks {
		if s.acks == AckByPong && m.stream.continuesIn(m.epoch) {
			s.acknowledge(m.stream, m.offset)
		}
	}
	if s.alone != nil {
		s.svc.failures.forget(s.alone.key(s.reader(s.alone.stream)))
		s.alone = nil
	}
	clear(q.marks)
	outstandings.Put(q)
	s.goOn()
	return true
}

// wrongPong repeats the ping: the client may answer the latest ping only, and this
// may have been a heartbeat. A client that goes on answering something else gets
// its messages without acknowledging them, until it answers properly.
func (s *session) wrongPong(q *outstanding) {
	if q.wrong >= wrongPongs {
		return
	}
	if q.wrong++; q.wrong < wrongPongs {
		if !s.stopped() && s.fits(s.svc.reserve()) {
			s.writePing(q)
		}
		return
	}
	s.noAcks, s.alone = true, nil
	s.svc.counters.unanswered.Add(1)
	s.svc.cfg.Logger.Warn("pong without the payload of its ping", "effect", "stored messages of this session are not acknowledged (RFC 6455 section 5.5.3)",
		"user", s.user, "session", s.receiver.ID())
	s.goOn()
}

// goOn is called when the window may have opened. The caller holds mu.
func (s *session) goOn() {
	if s.hasWork() {
		s.wake()
		return
	}
	if s.releasing {
		s.flushHeld(false)
	}
	s.pingSoon()
}

// pingSoon has a worker send the ping if the outbound queue is too full for it.
func (s *session) pingSoon() {
	if s.sendPing(); s.owesPing() {
		s.wake()
	}
}

// retire removes a session whose last held message was written while no worker had
// it, and which is disposable.
func (s *session) retire() {
	if s.state == idle && s.inbox.placed && !s.hasWork() && s.disposable() {
		s.dispose()
	}
}

// Errors of Ack.
var (
	// ErrNotSubscribed: the session has no stream of that topic.
	ErrNotSubscribed = errors.New("replay: not subscribed")
	// ErrEpoch: the offset belongs to another history.
	ErrEpoch = errors.New("replay: offset of another epoch")
	// ErrNotSent: no message with that offset, or a later one, was sent to the
	// session.
	ErrNotSent = errors.New("replay: offset was not sent")
	// ErrPositions: the user, or the client's address, has as many positions in
	// durable topics as it may. The position in this topic is not stored.
	ErrPositions = errors.New("replay: too many positions")
)

// Ack takes an explicit acknowledgement of everything up to an offset, of the inbox
// if topic is empty. epoch is that of the message. An acknowledgement for an earlier
// epoch of the session, whose offsets mean nothing any more, is ignored and counted:
// it may have been on its way when the epoch changed.
func (v *Service) Ack(r Receiver, topic, epoch string, offset uint64) (err error) {
	err = ErrNotSubscribed
	v.use(r, false, func(s *session) {
		st := &s.inbox
		if topic != "" {
			st = s.stream(store.Box{Topic: topic})
		}
		if st != nil {
			err = s.explicit(st, epoch, offset)
		}
	})
	return err
}

// explicit is Ack for one stream. The caller holds mu.
func (s *session) explicit(st *stream, epoch string, offset uint64) error {
	switch {
	case !st.placed:
		return ErrNotSent
	case !st.continuesIn(epoch) && slices.Contains(st.past, epoch):
		s.svc.counters.ignored.Add(1)
		return nil
	case !st.continuesIn(epoch):
		return fmt.Errorf("%w: %.32q, want %q", ErrEpoch, epoch, st.epoch)
	case offset > st.sent:
		return fmt.Errorf("%w: %d, last sent %d", ErrNotSent, offset, st.sent)
	}
	s.acknowledge(st, offset)
	if st.check {
		s.wake()
	}
	if st.overQuota {
		return ErrPositions
	}
	return nil
}

// acknowledge notes the position of the user.
func (s *session) acknowledge(st *stream, offset uint64) {
	if offset > st.acked {
		st.acked = offset
		s.report(st)
	}
}

// report gives an acknowledged position to the store, if that still has the history
// of the position.
func (s *session) report(st *stream) {
	if st.acked <= st.reported {
		return
	}
	if s.svc.cfg.Store.Epoch(st.box) != st.epoch {
		st.check = true // which reports it, when the store is available again
		return
	}
	if !s.mayStore(st) {
		return
	}
	s.svc.cfg.Store.Ack(st.box, s.reader(st), st.acked)
	st.reported, st.pinned = st.acked, true
	if f := s.svc.cfg.Acknowledged; f != nil {
		f(s.receiver, st.box, st.epoch, st.acked)
	}
}
