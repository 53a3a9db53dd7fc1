package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// A stream of JetStream that could not write once, because the disk was full or
// failed, answers nothing any more until its server is started again. That is done
// at once, in the space of the reserve, so that messages can be read and deleted.
// New ones are accepted when the reserve can be written again.
//
// A server that hangs, because of a deadlock or a disk that does not answer, cannot be
// replaced in this process: see errHangs. Hung reports it to the program, whose end frees the
// directory for the next process.

const (
	// watchInterval is how often the directory is looked at.
	watchInterval = 500 * time.Millisecond
	// healInterval separates attempts to write the reserve, or to start the server.
	healInterval = time.Second
	// linkPatience bounds the wait for a connection inside of the process.
	linkPatience = 5 * time.Second
	// silentMarks is how many requests of mark in a row get no answer, each within
	// Config.Timeout, before the server is started again.
	silentMarks = 3
)

// runLocal watches the embedded store, and heals it.
func (s *Store) runLocal(opened bool) {
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	marks := time.NewTicker(max(s.cfg.Sync, time.Second))
	defer marks.Stop()
	heal := time.NewTicker(healInterval)
	defer heal.Stop()
	gone, blind := false, false
	for {
		select {
		case <-s.quit:
			return
		case says := <-s.local.log.failed:
			if opened && !gone {
				s.fallIll(s.illness(says))
			}
		case <-watch.C:
			if s.marking != nil {
				continue // on a disk that does not answer
			}
			err := s.watch()
			if opened && !gone && errors.Is(err, errDisappeared) {
				gone = true
				s.health.Load().end(err)
				s.log.Error("stored messages unavailable", "err", err)
			} else if err != nil && !gone && !blind {
				s.log.Warn("data directory not checked", "err", err, "retry", watchInterval)
			}
			blind = err != nil
		case <-marks.C:
			if opened && s.usable() == nil {
				s.mark()
			}
		case <-heal.C:
			switch {
			case gone:
			case !opened:
				opened = s.openAgain()
			case s.sick() != nil:
				s.restartLocal()
			}
			s.acceptAgain(opened && !gone)
		}
	}
}

func (s *Store) watch() error {
	if s.local.lock == nil || s.local.server() == nil {
		return nil
	}
	return s.local.present()
}

// mark brings the account up to date, and logs why it cannot. It is also how a server that
// answers nothing is noticed. A disk that does not answer blocks the update as well: then the
// server is asked for something else.
func (s *Store) mark() {
	if s.marking == nil {
		s.marking = make(chan error, 1)
		go func(done chan<- error) { done <- s.markAccount() }(s.marking)
	}
	done, err := s.awaitMark(2 * s.cfg.Timeout)
	if !done {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
		_, err = s.state(ctx, subject.Inbox)
		cancel()
	}
	if s.silent.tooLong(err) && s.sick() == nil {
		s.fallIll(fmt.Errorf("%w: the embedded NATS server does not answer", store.ErrUnavailable))
		return
	}
	switch {
	case err == nil, s.sick() != nil:
	case datadir.IsDiskFull(err.Error()):
		s.reject(datadir.DiskFull(s.local.dir))
	default:
		s.log.Warn("account update failed", "err", err)
	}
}

// awaitMark waits until the markAccount in progress has ended, for as long as d at most, and
// not after quit.
func (s *Store) awaitMark(d time.Duration) (done bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err = <-s.marking:
		s.marking = nil
		return true, err
	case <-timer.C:
	case <-s.quit:
	}
	return false, nil
}

// silence counts requests in a row that got no answer.
type silence int

// tooLong counts a request that ended with err, and reports whether silentMarks in a row were
// not answered.
func (n *silence) tooLong(err error) bool {
	if !errors.Is(err, context.DeadlineExceeded) {
		*n = 0
		return false
	}
	*n++
	if *n < silentMarks {
		return false
	}
	*n = 0
	return true
}

// fallIll notes why the server cannot be used any more, and starts it again.
func (s *Store) fallIll(why error) {
	s.health.Load().end(why)
	s.log.Error("stored messages unavailable", "err", why)
	s.restartLocal()
}

// Hung returns a channel that is closed when the embedded NATS server does not stop within
// a bound, because of a deadlock or a disk that does not answer. The store stays unavailable
// until the server has stopped, which may be never, and the directory stays locked: a
// program whose supervisor starts it again should end. With an outside NATS the channel
// stays open.
func (s *Store) Hung() <-chan struct{} { return s.hung }

// openAgain tries to open the store, and reports whether it is open.
func (s *Store) openAgain() bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := s.openLocal(ctx)
	if err == nil {
		s.unopened.Store(nil)
		s.log.Info("stored messages available")
		s.recovered()
		return true
	}
	if errors.Is(err, errHangs) {
		s.reportHang(errHangs)
	}
	if was := s.unopened.Swap(&err); (*was).Error() != err.Error() {
		s.log.Error("stored messages unavailable", "err", err)
	}
	return false
}

// restartLocal starts the server again.
func (s *Store) restartLocal() {
	l := s.local
	l.reserve.Release()
	if err := l.stop(); err != nil {
		s.reportHang(err)
		return
	}
	if err := l.start(); err != nil {
		if text := err.Error(); text != s.startErr {
			s.startErr = text
			s.log.Error("embedded JetStream start failed", "err", err, "retry", healInterval)
		}
		return
	}
	s.startErr = ""
	if !s.awaitLink() {
		return // and try again
	}
	s.reject(s.sick())
	s.health.Store(newHealth())
}

// reportHang says that the server hangs, once.
func (s *Store) reportHang(err error) {
	select {
	case <-s.hung:
		return
	default:
	}
	err = fmt.Errorf("%w: %w; restart the process: another server cannot use %s while this one has its files open",
		store.ErrUnavailable, err, s.local.dir)
	h := newHealth()
	h.end(err)
	s.health.Store(h)
	s.log.Error("stored messages unavailable", "err", err)
	close(s.hung)
}

// awaitLink waits until the client is connected to a server that was just started.
func (s *Store) awaitLink() bool {
	nc := s.link.Load().nc
	deadline := time.After(linkPatience)
	for waiting := true; waiting; {
		// The client may not have noticed yet that the former server has ended,
		// which does not answer.
		if nc.IsConnected() && nc.FlushTimeout(linkPatience) == nil {
			return true
		}
		select {
		case <-s.quit:
			return false
		case <-deadline:
			waiting = false
		case <-time.After(time.Millisecond):
		}
	}
	s.log.Error("embedded JetStream unresponsive", "waited", linkPatience, "retry", healInterval)
	return false
}

// reject makes the store accept nothing new, for a reason, until the reserve can be
// written.
func (s *Store) reject(why error) {
	if s.full.Swap(&why) == nil {
		s.log.Error("store rejects messages", "err", why, "retry", healInterval)
	}
	s.local.reserve.Release()
}

// acceptAgain makes the store accept messages again, after reject.
func (s *Store) acceptAgain(opened bool) {
	if s.full.Load() == nil || !opened || s.sick() != nil || !s.local.deleting.TryLock() {
		return
	}
	defer s.local.deleting.Unlock()
	if s.local.reserve.Acquire() != nil || s.local.markUsed() != nil {
		return
	}
	if err := s.local.account.Raw(nil); err != nil { // what is pending
		s.local.reserve.Release()
		return
	}
	s.full.Store(nil)
	s.log.Info("store accepts messages again")
	s.recovered()
}

// accountFailed handles an error of the account. The entry is written later; nil if
// it could be written in the space of the reserve.
func (s *Store) accountFailed(err error) error {
	why := fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	if datadir.IsDiskFull(err.Error()) {
		why = datadir.DiskFull(s.local.dir)
	}
	s.reject(why)
	if !errors.Is(why, store.ErrDiskFull) {
		s.stats.unavailable.Add(1)
		return why
	}
	if s.local.account.Raw(nil) == nil {
		return nil
	}
	s.stats.unavailable.Add(1)
	return why
}
