package replay

import "fanfare/server/store"

// inFlight is a message that was written and is not acknowledged.
type inFlight struct {
	stream *stream
	epoch  string
	offset uint64
	cost   int
}

// mayBegin reports whether there is room for what begin writes.
func (s *session) mayBegin(st *stream) bool { return st.begun || s.fits(s.svc.reserve()) }

// begin is called before the first message of a stream, or when it has none.
func (s *session) begin(st *stream) {
	if st.begun {
		return
	}
	if st != &s.inbox {
		s.greet()
	}
	st.begun = true
	s.receiver.Begin(Begin{Box: st.box, Epoch: st.epoch, Offset: st.sent, Gap: s.takeGap(st)})
}

// greet sends the hello, which precedes everything else, if it was not sent. The store
// may not have answered yet.
func (s *session) greet() {
	st := &s.inbox
	switch {
	case st.begun || st.hinted:
	case st.placed:
		s.begin(st)
	default:
		st.hinted = true
		s.receiver.Begin(Begin{Box: st.box, Unknown: true})
	}
}

// takeGap reports whether messages are missing before the next one, and resets that: the
// caller announces the gap.
func (s *session) takeGap(st *stream) bool {
	gap := st.gap
	if st.gap = false; gap {
		s.svc.counters.gaps.Add(1)
	}
	return gap
}

// write delivers a message that was read, or passes over it. It returns false if
// there is no room, or the session has ended.
func (s *session) write(st *stream, m *store.Message) bool {
	if m.Offset <= st.sent {
		return true
	}
	if m.Expired(s.svc.cfg.Now()) {
		s.svc.counters.expired.Add(1)
		s.skip(st, m.Offset)
		return true
	}
	key := failureKey{user: s.reader(st), box: st.box, epoch: st.epoch, offset: m.Offset}
	switch s.svc.failures.count(key) {
	case 0:
	case mostTries - 1:
		st.solo = true
	default:
		s.skipFailed(st, key, tooBig)
		return true
	}
	if s.stopped() || !s.mayBegin(st) {
		return false
	}
	s.begin(st)
	full := &Message{Box: st.box, Epoch: st.epoch, Offset: m.Offset, Gap: st.gap, Stored: m}
	f := s.encode(st, full)
	if f == nil {
		return !s.broken // it was skipped
	}
	return s.send(st, f, full)
}

func (s *session) skip(st *stream, offset uint64) {
	st.advance(offset)
	st.gap = true
}

// advance notes that everything up to an offset was written or skipped.
func (st *stream) advance(offset uint64) {
	st.sent, st.need, st.solo = offset, 0, false
	st.expect(offset) // its notice may not have come yet
}

// send writes the frame of a message if there is room. The stream has begun.
func (s *session) send(st *stream, f Frame, m *Message) bool {
	offset := m.Offset
	cost := f.Len() + entryCost + s.markCost()
	st.need = cost
	if s.stopped() || !s.mayWrite(st) {
		return false
	}
	s.pin(st)
	if !s.writeStored(st, f, offset) {
		s.broken = true
		return false
	}
	if f := s.svc.cfg.Delivered; f != nil {
		f(s.receiver, m)
	}
	if s.takeGap(st); st.solo && s.tracks() {
		s.alone = &inFlight{st, st.epoch, offset, cost}
	}
	st.advance(offset)
	s.used = true
	if s.pings {
		s.flight += cost
		if cost > s.largest.cost {
			s.largest = inFlight{st, st.epoch, offset, cost}
		}
	}
	s.svc.counters.replayed.Add(1)
	return true
}

// pin stores the position of a first-time subscriber before the first message, so
// that a message that is not acknowledged is redelivered.
func (s *session) pin(st *stream) {
	if st.pinned {
		return
	}
	if s.svc.cfg.Store.Epoch(st.box) == st.epoch && s.mayStore(st) {
		s.svc.cfg.Store.Ack(st.box, s.reader(st), st.from)
		st.pinned = true
	}
}

// tracks reports whether pongs show what has arrived.
func (s *session) tracks() bool { return s.pings && !s.noAcks }

// mayWrite reports whether the next message of a stream may be written.
func (s *session) mayWrite(st *stream) bool {
	if s.tracks() && (s.alone != nil || st.solo && s.flight > 0) {
		return false
	}
	return s.room(max(1, st.need))
}

// room reports whether stored messages may take n bytes more. They get half of the
// outbound queue, so that they never end a session: live messages, held or not,
// get the other half. One message of any size fits if there is no other.
func (s *session) room(n int) bool {
	window := s.svc.cfg.Window
	if s.tracks() && s.flight > 0 && s.flight+n > window {
		return false
	}
	waiting := s.receiver.Queued()
	return waiting == 0 || waiting+n <= window
}

// fits reports whether n more bytes, of any kind, fit into the outbound queue. An empty queue
// accepts a message that is larger than the bound; everything else then waits for it.
func (s *session) fits(n int) bool {
	waiting := s.receiver.Queued()
	return waiting == 0 || waiting+n <= 2*s.svc.cfg.Window
}

// roomLeft is how many bytes of messages to read.
func (s *session) roomLeft() int {
	left := s.svc.cfg.Window - s.receiver.Queued()
	if s.tracks() {
		left = min(left, s.svc.cfg.Window-s.flight)
	}
	return max(left, 1)
}
