package replay

import (
	"context"
	"errors"

	"fanfare/server/store"
)

// errEpochChanged: the answers of the store belong to different epochs. The worker asks
// again.
var errEpochChanged = errors.New("replay: epoch changed")

// place is where a stream begins.
type place struct {
	epoch  string
	last   uint64 // of the box
	after  uint64 // everything up to here is not for this session
	gap    bool
	acked  uint64 // the position that the user has acknowledged, if it was asked for
	known  bool   // a position of the user is stored
	pinned bool
	// overQuota: quota does not allow the user a position here.
	overQuota bool
	// partial: the box is empty, and after was not looked up.
	partial bool
}

// quick reports whether an empty inbox is all there is to know: the session will
// then need no state. The caller holds mu.
func (s *session) quick(st *stream) bool {
	return st == &s.inbox && !st.full && !st.start.Resume && len(s.topics) == 0 && s.acks != AckExplicit
}

// locate finds out where a stream begins.
func (v *Service) locate(ctx context.Context, j job) (p place, err error) {
	db, st := v.cfg.Store, j.st
	if v.cfg.Sync != nil {
		// Notices come for what is stored from now on; what was stored before is
		// found now.
		if err := v.cfg.Sync(ctx, j.box); err != nil {
			return p, err
		}
	}
	if p.epoch = db.Epoch(j.box); p.epoch == "" {
		return p, store.ErrUnavailable
	}
	if p.last, err = db.Last(ctx, j.box); err != nil {
		return p, err
	}
	switch {
	case st.start.Resume:
		p.after, p.gap, err = v.resume(ctx, j.box, st.start, p.last)
		p.pinned = true
	case j.quick && p.last == 0:
		p.partial, p.pinned = true, true
	default:
		err = v.position(ctx, j, &p)
	}
	if err == nil && db.Epoch(j.box) != p.epoch {
		err = errEpochChanged
	}
	return p, err
}

// resume returns the offset that the client names, or the start of the box and a
// gap if that offset belongs to another history.
func (v *Service) resume(ctx context.Context, b store.Box, at Start, last uint64) (after uint64, gap bool, err error) {
	if at.Offset == 0 && at.Epoch == "" {
		return 0, false, nil
	}
	ok, err := v.cfg.Store.Continues(ctx, b, at.Epoch, at.Offset)
	if err != nil {
		return 0, false, err
	}
	if !ok {
		v.counters.resets.Add(1)
		return 0, true, nil
	}
	if last >= at.Offset {
		return at.Offset, false, nil // what follows is found by Read
	}
	// Nothing follows; whether something did can still be asked.
	page, err := v.cfg.Store.Read(ctx, b, at.Offset, 1)
	return at.Offset, page.Gap, err
}

// choose sets where a stream begins: after an offset, or earlier if the session counts as a
// receiver of a message up to there.
func (s *session) choose(st *stream, after uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.bound != unbounded {
		after = min(after, st.from)
	}
	st.bound, st.from = chosen, after
	return after
}

// rewound returns where a stream begins that rewinds: before the last messages of the box, or
// before those that were stored since the stream was wanted, if they are more.
func (v *Service) rewound(ctx context.Context, j job, before uint64) (after uint64, err error) {
	after, err = store.Rewind(ctx, v.cfg.Store, j.box, int(j.st.start.Rewind))
	return min(after, before), err
}

// position finds the position that the user has acknowledged on any device, as of the
// time at which the stream was wanted: what was stored since then is for this session,
// though another device may have acknowledged it already. In a topic that the user has
// not subscribed before, the position is the end at that time. A stream that rewinds begins
// at its last messages, and leaves the position as it is. A message whose notice has
// come since then is for this session, too, whenever it was stored: see choose.
func (v *Service) position(ctx context.Context, j job, p *place) (err error) {
	db, st, user := v.cfg.Store, j.st, j.user
	if p.acked, p.known, err = db.Acked(ctx, j.box, user); err != nil {
		return err
	}
	p.pinned = p.known || j.box.User != ""
	rewinds := st.start.Rewind > 0
	if p.pinned && p.acked == 0 && !rewinds {
		return nil
	}
	if p.after, err = db.Before(ctx, j.box, st.since); err != nil {
		return err
	}
	switch {
	case rewinds:
		if p.after, err = v.rewound(ctx, j, p.after); err != nil {
			return err
		}
	case p.pinned:
		if p.after, err = v.unacked(ctx, j.box, p.after, p); err == nil {
			p.after = j.session.choose(st, p.after)
		}
		return err
	}
	p.after = j.session.choose(st, p.after)
	if st.remember && !p.pinned {
		if !st.exempt && !v.quota.allow(user, j.box.Topic, j.addr, v.cfg.Now()) {
			p.overQuota = true
			return nil
		}
		switch err := db.AckSync(ctx, j.box, user, p.after); {
		case errors.Is(err, store.ErrFull): // stored with the first message, if there is room then
			return nil
		case err != nil:
			return err
		}
		p.acked, p.pinned, p.known = p.after, true, true
	}
	return nil
}

// unacked returns the offset that precedes the first message after before, or the
// acknowledged offset if no such message has been acknowledged: messages that were stored
// earlier may have been removed.
func (v *Service) unacked(ctx context.Context, b store.Box, before uint64, p *place) (after uint64, err error) {
	if before >= p.acked || before >= p.last {
		return p.acked, nil
	}
	page, err := v.cfg.Store.Read(ctx, b, before, 1)
	switch {
	case errors.Is(err, store.ErrDamaged), err == nil && len(page.Messages) == 0:
		return before, nil // the stream reads it again: it is damaged, or a replica lags
	case err != nil:
		return 0, err
	case page.Messages[0].Offset > p.acked:
		return p.acked, nil
	}
	return max(before, page.Messages[0].Prev), nil
}

// check asks whether the offsets of a stream continue in the present epoch, and for
// the last one.
func (v *Service) check(ctx context.Context, j job) (epoch string, continues bool, last uint64, err error) {
	db := v.cfg.Store
	if epoch = db.Epoch(j.box); epoch == "" {
		return "", false, 0, store.ErrUnavailable
	}
	if continues = true; epoch != j.epoch {
		if continues, err = db.Continues(ctx, j.box, j.epoch, j.offset); err != nil {
			return "", false, 0, err
		}
	}
	if last, err = db.Last(ctx, j.box); err == nil && db.Epoch(j.box) != epoch {
		err = errEpochChanged
	}
	return epoch, continues, last, err
}

// located places a stream. The caller holds mu.
func (s *session) located(st *stream, p place) {
	if p.partial && (len(s.topics) > 0 || st.want > 0 || st.check) {
		st.full = true // the session stays, so that its position matters
		return
	}
	if st.place(p); p.overQuota {
		s.leaveUnstored(st)
	}
	s.acknowledgeStart(st)
	if s.svc.cfg.Sync != nil && !(s.second && st == &s.inbox) {
		s.svc.lookLater(s.receiver, st.box.Topic)
	}
}

// checked moves a stream to the present epoch. The caller holds mu.
func (s *session) checked(st *stream, a answer) {
	if a.epoch != st.epoch {
		st.moveTo(a.epoch, a.continues)
		if !a.continues {
			s.svc.counters.resets.Add(1)
		}
	}
	st.expect(a.last)
	s.report(st)
}
