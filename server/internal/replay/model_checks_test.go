package replay

import (
	"slices"
	"strings"

	"fanfare/server/store"
)

// checkWrite is called before a frame is written.
func (s *modelSession) checkWrite(w *wire) {
	if s.stage != running && s.m.depth == 0 && s.stage != attached {
		faultf("session %d in stage %d: %v is written", s.id, s.stage, w)
	}
	switch w.kind {
	case "begin":
		s.checkBegin(w.begin)
	case "live":
		if s.mode == AckExplicit && !s.hello {
			faultf("session %d: %s before hello", s.id, w.text)
		}
		s.written = append(s.written, w.text)
	case "ping":
		s.flight = append(s.flight, w)
	case "stored":
		id, _, _ := strings.Cut(w.text, ".")
		s.got[id] = true
		s.checkStored(w)
	}
}

func (s *modelSession) checkBegin(b Begin) {
	if b.Box.User != "" {
		s.hello = true
	} else if s.mode == AckExplicit && !s.hello {
		faultf("session %d: topic begins before hello", s.id)
	} else if !s.topics[b.Box.Topic] {
		faultf("session %d: begin of a topic that is not subscribed", s.id)
	}
	s.checkRewound(b)
	if at, ok := s.at[b.Box]; ok && !b.Unknown && at.Epoch != "" {
		faultf("session %d: %v begins twice", s.id, b.Box)
	}
	if !b.Unknown {
		s.at[b.Box] = b
	}
}

func (s *modelSession) checkStored(w *wire) {
	b := &w.message
	if b.Box.Topic != "" && !s.topics[b.Box.Topic] {
		faultf("session %d: message of a topic that is not subscribed", s.id)
	}
	at, ok := s.at[b.Box]
	if s.mode == AckExplicit && (!ok || !s.hello) {
		faultf("session %d: %s before it began", s.id, w.text)
	}
	if ok {
		s.checkNext(at, b)
	}
	if s.m.deleted[b.Offset] && b.Epoch == s.m.store.epoch() && !slices.ContainsFunc(s.m.store.boxes[b.Box], func(m store.Message) bool { return m.Offset == b.Offset }) {
		faultf("session %d: %s was deleted before", s.id, w.text)
	}
	if b.Box.User != "" && b.Offset <= s.acked && s.m.store.epochs == s.epochs && s.before(b) && !s.countsBefore(b.Offset) {
		faultf("session %d: %s was acknowledged before the session was attached", s.id, w.text)
	}
	s.at[b.Box] = Begin{Epoch: b.Epoch, Offset: b.Offset}
	s.flight = append(s.flight, w)
	if s.wrong || s.noPings {
		return
	}
	flight, n := 0, 0
	for _, w := range s.flight {
		if w.kind == "stored" {
			flight += w.size + entryCost
			n++
		}
	}
	if flight > s.svc.cfg.Window && n > 1 {
		faultf("session %d: %d bytes in flight", s.id, flight)
	}
	if len(s.queue) > 0 && s.Queued()+w.size+entryCost > s.limit {
		faultf("session %d: replay fills the queue", s.id)
	}
}

// countsBefore reports whether the session counted as a receiver of a message of its inbox
// up to an offset.
func (s *modelSession) countsBefore(offset uint64) bool {
	return slices.ContainsFunc(s.owed, func(o owed) bool { return o.box.User != "" && o.offset <= offset })
}

// before reports whether the store can tell that a message was stored before the session was
// attached.
func (s *modelSession) before(b *Message) bool {
	f := s.m.store
	for _, msg := range f.boxes[b.Box] {
		if msg.Offset == b.Offset {
			return f.skew == 0 || msg.Stored.Before(s.since.Add(-f.skew))
		}
	}
	return true
}

// checkNext compares a message with the one before it.
func (s *modelSession) checkNext(at Begin, b *Message) {
	f := s.m.store
	continues := at.Epoch == b.Epoch
	if limit, ok := f.valid[at.Epoch]; ok && b.Epoch == f.epoch() {
		continues = at.Offset <= limit
	}
	switch {
	case at.Epoch != b.Epoch && b.Gap:
		return // it may have been at an expired message that is gone
	case continues && b.Offset <= at.Offset:
		faultf("session %d: %d after %d", s.id, b.Offset, at.Offset)
	case b.Epoch != f.epoch() || b.Gap:
		return
	case !continues:
		faultf("session %d: another history without a gap", s.id)
	}
	for _, missed := range f.boxes[b.Box] {
		if missed.Offset > at.Offset && missed.Offset < b.Offset {
			faultf("session %d: %d after %d, but not %d, and no gap", s.id, b.Offset, at.Offset, missed.Offset)
		}
	}
}

// acking is called before a position is stored.
func (m *model) acking(b store.Box, user string, from, to uint64, known bool) {
	if !known && b.Topic != "" {
		return // the start of a subscriber
	}
	for _, s := range m.sessions {
		// The position of a user is one for all devices: an acknowledgement by
		// one that subscribed later covers what came before it subscribed.
		if state := m.find(s.receiver); state != nil && s.user == user && b.Topic != "" && state.stream(b) != nil {
			from = max(from, state.stream(b).from)
		}
	}
	for _, msg := range m.store.boxes[b] {
		id, _, _ := strings.Cut(string(msg.Payload), ".")
		skipped := m.skipped(user, b, msg.Offset)
		if msg.Offset > from && msg.Offset <= to && !m.read[user][id] && !msg.Expired(m.clock.Now()) && !skipped {
			faultf("%v of %s acknowledged up to %d, but no client has read %s@%d", b, user, to, id, msg.Offset)
		}
	}
}

// skipped reports whether a message is skipped for a user, at least in one dialect, or
// was missing for some time.
func (m *model) skipped(user string, b store.Box, offset uint64) bool {
	for _, epoch := range epochNames[:m.store.epochs+1] {
		k := failureKey{user: user, box: b, epoch: epoch, offset: offset}
		failed := m.failures.count(k)
		k.dialect = poison
		if failed >= mostTries || m.failures.count(k) >= mostTries {
			return true
		}
	}
	return m.evicted[offset]
}

// settle lets everything be delivered, and checks that it was.
func (m *model) settle() {
	m.quiet = true
	m.note("settle")
	m.store.down = false
	m.store.lag = 0
	for _, n := range m.notices {
		m.spread(n, 0)
	}
	m.notices = nil
	for _, s := range m.sessions {
		for s.stage == made || s.stage == listed || s.stage == attached {
			s.stage = max(s.stage, listed)
			if s.stage == listed {
				s.attach(Start{}, nil)
			} else {
				s.phase = Open
				m.Open(s.receiver)
			}
			s.stage++
		}
	}
	m.recheck()
	m.drainAll()
	for _, s := range m.sessions {
		if s.full != "" && s.full != "live" {
			faultf("session %d was closed: no room for a %s", s.id, s.full)
		}
		if s.stage == running && s.phase == Open {
			m.checkSettled(s)
		}
	}
	for _, s := range m.sessions {
		for _, a := range s.acks {
			if s.mode == AckExplicit && s.stage == running && s.phase == Open {
				m.acknowledge(s, a)
			}
		}
	}
	m.checkReconnect()
	for _, s := range m.sessions {
		s.phase = Ended
		if s.stage < detached {
			m.Detach(s.receiver, 0)
		}
		s.checkLive()
	}
	m.drainAll()
	if n := m.Stats(); n.Sessions != 0 || n.Waiting != 0 || len(m.holders) != 0 || len(m.looks) != 0 || n.Panics != 0 {
		faultf("left at the end: %+v, %d holders, %d looks", n, len(m.holders), len(m.looks))
	}
}

// drainAll lets clients read and answer until nothing moves.
func (m *model) drainAll() {
	for range 300 {
		m.work()
		m.clock.advance(tickInterval)
		m.tick(m.clock.Now())
		moved := false
		for _, s := range m.sessions {
			s.kernelMax = 1 << 20
			s.drain()
			for s.clientRead() {
				moved = true
			}
			for len(s.pongs) > 0 && s.stage < detached {
				payload := s.pongs[0]
				s.pongs = s.pongs[1:]
				moved = true
				if m.Pong(s.receiver, []byte(payload)) {
					s.flight = nil
				}
			}
		}
		n := m.Stats()
		if !moved && n.Waiting == 0 && len(m.looks) == 0 && len(m.holders) == 0 {
			return
		}
	}
	faultf("does not settle: %+v", m.Stats())
}

// checkSettled: an open session has everything.
func (m *model) checkSettled(s *modelSession) {
	if s.hold {
		faultf("session %d still holds live messages", s.id)
	}
	boxes := []store.Box{inboxOf(s.user)}
	for name := range s.topics {
		boxes = append(boxes, topic(name))
	}
	for _, o := range s.owed {
		stays := slices.ContainsFunc(m.store.boxes[o.box], func(msg store.Message) bool {
			return msg.Offset == o.offset && msg.Expires.IsZero() && strings.HasPrefix(string(msg.Payload), o.id+".")
		})
		if stays && !s.got[o.id] && !m.skipped(s.user, o.box, o.offset) {
			faultf("session %d was open when %s@%d was stored, and does not get it", s.id, o.id, o.offset)
		}
	}
	state := m.find(s.receiver)
	for _, b := range boxes {
		l := m.store.boxes[b]
		for len(l) > 0 && (l[len(l)-1].Expired(m.clock.Now()) || m.skipped(s.user, b, l[len(l)-1].Offset)) {
			l = l[:len(l)-1]
		}
		if len(l) == 0 || s.mode != AckExplicit && b.User != "" && s.hasRead(l) {
			continue
		}
		at := s.at[b]
		if at.Epoch == "" && state != nil && state.stream(b) != nil {
			at.Offset = state.stream(b).sent // began there, and had no message
		}
		if last := l[len(l)-1].Offset; at.Offset < last {
			faultf("session %d does not get %v@%d: it is at %+v", s.id, b, last, at)
		}
	}
	s.checkLast()
	if state == nil && (s.mode == AckExplicit || len(s.topics) > 0) {
		faultf("session %d has no state", s.id)
	}
	if state != nil && state.state != idle {
		faultf("session %d is %v", s.id, state.state)
	}
}

// hasRead reports whether clients of the user have read all these messages, as far as
// they have not expired.
func (s *modelSession) hasRead(l []store.Message) bool {
	return !slices.ContainsFunc(l, func(msg store.Message) bool {
		id, _, _ := strings.Cut(string(msg.Payload), ".")
		return !s.m.read[s.user][id] && !msg.Expired(s.m.clock.Now())
	})
}

// checkReconnect: whatever is stored in an inbox was read by the user's clients,
// after one more of them has connected.
func (m *model) checkReconnect() {
	for _, user := range modelUsers {
		s := m.newSession()
		s.stage = running
		s.receiver = m.receiver(user, AckByPong)
		s.check = s.checkWrite
		m.sessions = append(m.sessions, s)
		m.open(s.receiver, Start{})
	}
	m.drainAll()
	for _, user := range modelUsers {
		for _, msg := range m.store.boxes[inboxOf(user)] {
			id, _, _ := strings.Cut(string(msg.Payload), ".")
			if !m.read[user][id] && !msg.Expired(m.clock.Now()) && !m.skipped(user, inboxOf(user), msg.Offset) {
				faultf("%s of %s was never read", id, user)
			}
		}
	}
}

// checkLive: in order, and each written or dropped once.
func (s *modelSession) checkLive() {
	var dropped []string
	for _, w := range s.dropped {
		dropped = append(dropped, w.text)
	}
	var want []string
	for _, text := range s.given {
		if i := slices.Index(dropped, text); i >= 0 {
			dropped = slices.Delete(dropped, i, i+1)
		} else {
			want = append(want, text)
		}
	}
	written := slices.DeleteFunc(slices.Clone(s.written), func(text string) bool { return !slices.Contains(want, text) })
	if !slices.Equal(written, want) || len(dropped) > 0 {
		faultf("session %d: live messages %q, written %q, want %q", s.id, s.given, s.written, want)
	}
}
