package replay

import "fanfare/server/store"

// Notice says that a message was stored, by this node or another one.
type Notice struct {
	Message
	Prev uint64 // the offset of the preceding message of the box
}

// NewNotice returns the notice of a message, for all its receivers. shared is the
// message as Receiver.Encode wants it. It is nil if sessions must read the message from
// the store: because it was not transmitted, or is a duplicate, which some sessions have
// got.
func (v *Service) NewNotice(b store.Box, offset, prev uint64, shared any) *Notice {
	return &Notice{Message{Box: b, Epoch: v.cfg.Store.Epoch(b), Offset: offset, Shared: shared}, prev}
}

// Notify delivers a message that was just stored to one receiver, and reports
// whether the session gets it, or its client has it. If the message directly follows what
// was sent before, it is written at once; otherwise a worker reads the store.
func (v *Service) Notify(r Receiver, n *Notice) (gets bool) {
	v.use(r, n.Box.User != "", func(s *session) { gets = s.notify(n) })
	return gets
}

func (s *session) notify(n *Notice) bool {
	st := s.stream(n.Box)
	if st == nil {
		s.dismiss()
		return false // not subscribed, or Subscribe will ask the store
	}
	if !st.placed && s.state == idle {
		s.resume(st, n)
	}
	counts := !s.stopped() && st.counts(n.Offset)
	switch {
	case !st.placed:
		if st.epoch == "" {
			st.epoch = n.Epoch
		}
		if st.epoch != n.Epoch || n.Epoch == "" {
			st.check = true
		} else {
			st.expect(n.Offset)
		}
	case n.Epoch != st.epoch:
		st.check = true // its offset cannot be compared with those of the stream
	case n.Offset <= st.sent:
		s.retire()
		return counts
	case s.direct(st, n):
		s.pingSoon()
		return true
	default:
		if st.expect(n.Offset); !st.pending() {
			return false // direct skipped it
		}
	}
	s.wake()
	return counts && !s.stopped()
}

// resume places the inbox of a receiver that had no session, because it had everything when
// the last one ended, if the message of a notice is the next one. The store need not be asked.
func (s *session) resume(st *stream, n *Notice) {
	at := st.start // where the last session ended; zero: the inbox was empty
	if at.Resume && at.Epoch != n.Epoch || n.Prev > at.Offset || s.svc.cfg.Store.Epoch(n.Box) != n.Epoch {
		return
	}
	st.place(place{epoch: n.Epoch, after: at.Offset, last: at.Offset, pinned: true})
}

// direct writes the message of a notice if nothing is missing before it. A worker
// relies on what it read, so it is not overtaken.
func (s *session) direct(st *stream, n *Notice) bool {
	if n.Shared == nil || n.Prev > st.sent || st.check || len(st.rest) > 0 || s.state == working || s.state == opening || s.stopped() {
		return false
	}
	if !s.mayBegin(st) || s.svc.deletions.recent(st.box, s.svc.cfg.Now) {
		return false
	}
	m := &n.Message
	if s.begin(st); st.gap {
		withGap := n.Message
		withGap.Gap = true
		m = &withGap
	}
	f := s.encode(st, m)
	return f != nil && s.send(st, f, m)
}
