package replay

import "time"

// Recheck asks the store once more for all open sessions, after a time in which
// notices may have been lost. It returns at once; calls are combined.
func (v *Service) Recheck() {
	if v.checking.CompareAndSwap(false, true) {
		v.spawn(func() {
			v.checking.Store(false)
			v.recheck()
		})
	}
}

func (v *Service) recheck() {
	if v.cfg.Receivers == nil {
		return
	}
	for r := range v.cfg.Receivers {
		if v.ctx.Err() != nil {
			return
		}
		if s := v.find(r); s == nil && r.Phase() != Open {
			continue // Attach follows, and asks the store
		}
		v.use(r, true, func(s *session) {
			s.each(func(st *stream) bool {
				st.check = st.placed
				return true
			})
			s.wake()
		})
	}
}

// lookLater asks the store once more some time after the first look.
func (v *Service) lookLater(r Receiver, topic string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looks = append(v.looks, look{r, topic, v.cfg.Now().Add(v.cfg.Settle)})
}

func (v *Service) secondLook(l look) {
	if l.topic == "" {
		if l.receiver.Phase() != Open {
			return
		}
		v.obtain(l.receiver, true)
	}
	v.use(l.receiver, false, func(s *session) {
		s.each(func(st *stream) bool {
			if st.box.Topic == l.topic {
				st.check = st.placed
				s.wake()
			}
			return st.box.Topic != l.topic
		})
	})
}

// watch calls tick until the service is stopped.
func (v *Service) watch() {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-v.ctx.Done():
			return
		case <-ticker.C:
			v.tick(v.cfg.Now())
		}
	}
}

// tick does what is due.
func (v *Service) tick(now time.Time) {
	v.mu.Lock()
	due, left := []pause(nil), v.waiting[:0]
	for _, p := range v.waiting {
		if p.until.After(now) {
			left = append(left, p)
		} else {
			due = append(due, p)
		}
	}
	clear(v.waiting[len(left):])
	v.waiting = left
	holders := v.holders
	v.holders = nil
	n := 0
	for n < len(v.looks) && !v.looks[n].due.After(now) {
		n++
	}
	looks := v.looks[:n:n]
	if v.looks = v.looks[n:]; len(v.looks) == 0 {
		v.looks = nil
	}
	v.mu.Unlock()

	for _, p := range due {
		p.session.retry()
	}
	for _, s := range holders {
		if s.tickHeld() {
			v.holder(s)
		}
	}
	for _, l := range looks {
		v.secondLook(l)
	}
	if !now.Before(v.renewTime) {
		v.renewTime = now.Add(v.cfg.Store.RenewInterval())
		v.renew()
	}
}

func (s *session) retry() {
	s.locked(func(s *session) {
		if s.state == waiting && s.move(evRetry) {
			s.svc.enqueue(s)
		}
	})
}

// renew keeps the positions of subscribers from expiring: that of a session which
// hears nothing for long would be forgotten.
func (v *Service) renew() {
	for i := range v.shards {
		sh := &v.shards[i]
		sh.mu.Lock()
		all := make([]*session, 0, len(sh.sessions))
		for _, s := range sh.sessions {
			all = append(all, s)
		}
		sh.mu.Unlock()
		for _, s := range all {
			s.locked((*session).renew)
		}
	}
}

func (s *session) renew() {
	db := s.svc.cfg.Store
	for _, st := range s.topics {
		if st.reported > 0 && db.Epoch(st.box) == st.epoch {
			db.Renew(st.box, s.reader(st), st.reported)
		}
	}
}
