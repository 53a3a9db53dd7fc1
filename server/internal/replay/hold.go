package replay

// Hold keeps a live message while older stored messages are on their way to the
// session, and reports whether it did; if not, the caller writes it. A message that
// is held counts as queued: it is handed to Receiver.WriteLive or, if the session
// ends first, to Receiver.DropLive, exactly once.
//
// Held messages are written when the stored messages have been, or ahead of the
// rest of those when the store fails or they have waited for a second, all this as
// far as the outbound queue has room. If they exceed seven eighths of a window they
// are written at once, and their policy decides what happens in a full queue.
func (v *Service) Hold(r Receiver, f Frame) (held bool) {
	v.use(r, false, func(s *session) { held = s.hold(f) })
	return held
}

func (s *session) hold(f Frame) bool {
	if !s.holding {
		return false
	}
	cost := f.Len() + entryCost
	// Nothing can be written between Attach and Open, but that takes microseconds.
	if s.heldBytes+cost > s.svc.mostHeld() && s.state != opening {
		s.flushHeld(true)
		s.retire()
		return false
	}
	if len(s.held) == 0 {
		s.heldSince = s.svc.cfg.Now()
		s.svc.holder(s)
	}
	s.held = append(s.held, f)
	s.heldBytes += cost
	return true
}

// reserve is for hellos, confirmations and pings, in the half of the outbound queue
// that stored messages do not use.
func (v *Service) reserve() int { return v.cfg.Window / 8 }

func (v *Service) mostHeld() int { return v.cfg.Window - v.reserve() }

// Flush writes the live messages that are held. It is called before an orderly close.
func (v *Service) Flush(r Receiver) {
	v.use(r, false, func(s *session) {
		if len(s.held) > 0 { // the receiver may be Open although Open was not called yet
			s.flushHeld(true)
		}
	})
}

// Discard says that messages were dropped from the outbound queue of a session that
// is being closed: no pong acknowledges anything any more. It may be called by a
// method of the Receiver.
func (v *Service) Discard(r Receiver) {
	if s := v.find(r); s != nil {
		s.discarded.Store(true)
	}
}

// flushHeld writes held messages, in order, and ends the hold when it has written
// all. Without force it stops where the outbound queue is full, so that a client
// that is not slow is not closed for it.
func (s *session) flushHeld(force bool) {
	if !s.holding || s.stopped() || !force && !s.mayBegin(&s.inbox) {
		return
	}
	s.greet()
	for len(s.held) > 0 {
		f := s.held[0]
		cost := f.Len() + entryCost
		if !force && !s.fits(cost) {
			return
		}
		s.held[0] = nil
		s.held = s.held[1:]
		s.heldBytes -= cost
		s.receiver.WriteLive(f)
		if s.stopped() {
			s.dropHeld()
			return
		}
	}
	s.held, s.holding, s.releasing = nil, false, false
	s.receiver.EndHold()
}

func (s *session) dropHeld() {
	for _, f := range s.held {
		s.svc.counters.dropped.Add(1)
		s.receiver.DropLive(f)
	}
	s.held, s.heldBytes = nil, 0
}

// holder enters a session that holds messages in the list that tick looks at.
func (v *Service) holder(s *session) {
	v.mu.Lock()
	v.holders = append(v.holders, s)
	v.mu.Unlock()
}

// tickHeld writes what is old enough, or what has room now, and reports whether
// something is still held.
func (s *session) tickHeld() (still bool) {
	s.locked(func(s *session) {
		if s.state == opening {
			still = len(s.held) > 0
			return
		}
		if len(s.held) > 0 && s.svc.cfg.Now().Sub(s.heldSince) >= holdTime {
			s.releasing = true
		}
		if s.releasing {
			s.flushHeld(false)
		}
		still = len(s.held) > 0 && !s.stopped()
		s.retire()
	})
	return still
}
