package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fanfare/server"
)

// record is the goroutine that stores events.
func (s *Service) record() {
	defer close(s.recorded)
	for {
		var due <-chan time.Time
		var timer *time.Timer
		if next := s.presence.next(); !next.IsZero() {
			timer = time.NewTimer(next.Sub(s.now()))
			due = timer.C
		}
		select {
		case <-s.intake.kick:
		case <-due:
		case f := <-s.commands:
			f()
		case <-s.quit:
			s.storeObserved(true)
			return
		}
		if timer != nil {
			timer.Stop()
		}
		s.storeObserved(false)
	}
}

// restore continues with what a former process has left. The users who were online have the
// grace period to come back.
func (s *Service) restore(before *onlineState) {
	if before == nil {
		return
	}
	s.dropped = before.dropped
	if !s.Wants(server.UserOffline) && !s.Wants(server.UserOnline) {
		before.users, before.pending = nil, nil
		s.noteFileError(s.online.replace(before))
		return
	}
	for _, user := range before.pending {
		s.Observe(server.Event{Kind: server.UserOnline, Time: s.now(), User: user})
		s.Observe(server.Event{Kind: server.UserOffline, User: user})
		delete(before.users, user)
	}
	for _, user := range before.sortedUsers() {
		s.presence.gone(user, s.now(), time.Time{})
	}
	if n := len(before.users) + len(before.pending); n > 0 {
		s.log.Info("users were online before the restart", "users", n, "offline_grace", s.cfg.OfflineGrace)
	}
}

// storeObserved stores what was observed, and the users whose grace period has ended.
func (s *Service) storeObserved(last bool) {
	observed, lost := s.intake.take()
	now := s.now()
	var events []server.Event
	for _, e := range observed {
		if s.presence.observe(e, now) {
			events = append(events, e)
		}
	}
	until := now
	if last && s.online == nil {
		until = now.Add(maxGrace + time.Hour) // no later process would report them
	}
	events = append(events, s.presence.expired(until)...)
	for kind, n := range lost {
		s.stats.droppedBuffer.Add(n)
		for _, d := range *s.workers.Load() {
			if h := d.hook.Load(); h.wants(kind) {
				s.dropped[h.id] += n
			}
		}
	}
	if len(events) == 0 && len(lost) == 0 {
		return
	}
	ids := make([]string, len(events))
	for i := range ids {
		s.count++
		ids[i] = s.boot + "-" + strconv.FormatUint(s.count, 10)
	}
	s.storeEvents(events, ids)
}

// storeEvents stores events with their identifiers for all webhooks that want them.
func (s *Service) storeEvents(events []server.Event, ids []string) {
	s.stats.events.Add(int64(len(events)))
	s.countEscalations(events)
	s.noteUsers(events)
	before := make(map[string]int64, len(s.dropped))
	for hook, n := range s.dropped {
		before[hook] = n
	}
	encoded := make([][]byte, len(events))
	for i := range events {
		encoded[i] = encode(&events[i], ids[i], s.cfg.Node)
	}
	for _, d := range *s.workers.Load() {
		s.store(d, events, encoded)
		d.wake()
	}
	s.noteStored(before)
}

// countEscalations counts messages that were not acknowledged in time, and logs those that no
// webhook is told of.
func (s *Service) countEscalations(events []server.Event) {
	var unread int64
	for i := range events {
		if events[i].Kind == server.MessageUnread {
			unread++
		}
	}
	if unread == 0 {
		return
	}
	if err := s.taken(server.MessageUnread); err != nil {
		s.stats.untaken.Add(unread)
		s.log.Warn("unread messages are not escalated", "messages", unread, "err", err)
		return
	}
	s.stats.escalated.Add(unread)
}

// taken returns why no webhook gets an event.
func (s *Service) taken(k server.EventKind) error {
	gone := ""
	for _, d := range *s.workers.Load() {
		h := d.hook.Load()
		switch {
		case !h.wants(k):
		case !d.gone.Load():
			return nil
		default:
			gone = h.name
		}
	}
	if gone != "" {
		return fmt.Errorf("the webhook %s, which receives %s, has answered 410 Gone, and gets no events until a reload", gone, k)
	}
	return fmt.Errorf("no webhook receives %s", k)
}

// store stores the events that a webhook wants.
func (s *Service) store(d *deliverer, events []server.Event, encoded [][]byte) {
	h := d.hook.Load()
	var b batch
	for i := range events {
		if !h.wants(events[i].Kind) {
			continue
		}
		if d.gone.Load() {
			s.stats.droppedGone.Add(1)
			s.dropped[h.id]++
			continue
		}
		one := batch{count: 1, oldest: events[i].Time, events: encoded[i]}
		if !b.fits(&one) && b.count > 0 {
			s.add(h, &b)
			b = batch{}
		}
		b.add(&one)
	}
	if b.count > 0 {
		s.add(h, &b)
	}
}

// storeRetry is the pause after an error of the queue that may pass; meanwhile events are
// buffered.
const storeRetry = 250 * time.Millisecond

// add stores a batch, with the number of events that were dropped before it.
func (s *Service) add(h *hook, b *batch) {
	failed := false
	for {
		b.dropped = s.dropped[h.id]
		err := s.queue.add(context.Background(), h.id, b) // which bounds it; Close stores what was observed
		switch {
		case err == nil:
			delete(s.dropped, h.id)
			s.stats.full.Store(false)
			if failed {
				s.log.Info("events for webhooks can be stored again")
			}
			return
		case errors.Is(err, errFull):
			s.stats.droppedFull.Add(b.count)
			s.dropped[h.id] += b.count
			if !s.stats.full.Swap(true) {
				s.log.Error("events for webhooks are dropped: the queue is full", "max_bytes", s.cfg.MaxBytes)
			}
			return
		case errors.Is(err, errTooLong):
			s.stats.droppedTooLong.Add(b.count)
			s.dropped[h.id] += b.count
			s.log.Error("event for webhooks dropped", "err", err, "bytes", len(b.events))
			return
		}
		if !failed {
			s.log.Error("events for webhooks cannot be stored; retrying", "err", err)
			failed = true
		}
		if !s.pause(s.ctx, storeRetry) {
			if s.shared {
				return // Report fails
			}
			s.stats.droppedFull.Add(b.count)
			s.dropped[h.id] += b.count
			s.log.Error("events for webhooks dropped at the end", "webhook", h.name, "events", b.count)
			return
		}
	}
}

// noteUsers writes who is online before the events of it are stored.
func (s *Service) noteUsers(events []server.Event) {
	if s.online == nil {
		return
	}
	var lines []byte
	for i := range events {
		switch e := &events[i]; e.Kind {
		case server.UserOnline:
			lines = append(append(append(lines, '+'), e.User...), '\n')
		case server.UserOffline:
			lines = append(append(append(lines, '-'), e.User...), '\n')
		}
	}
	s.noteFileError(s.online.write(lines))
}

// noteStored writes that the events are stored, and how many were dropped.
func (s *Service) noteStored(before map[string]int64) {
	if s.online == nil {
		return
	}
	var lines bytes.Buffer
	for hook, n := range s.dropped {
		if before[hook] != n {
			fmt.Fprintf(&lines, "!%s %d\n", hook, n)
		}
	}
	for hook := range before {
		if _, still := s.dropped[hook]; !still {
			fmt.Fprintf(&lines, "!%s 0\n", hook)
		}
	}
	lines.WriteString("=\n")
	err := s.online.write(lines.Bytes())
	if err == nil {
		err = s.online.compact()
	}
	s.noteFileError(err)
}

func (s *Service) noteFileError(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != s.fileErr {
		s.fileErr = text
		if err != nil {
			s.log.Error("who is online cannot be stored: after a restart user.offline may be missing", "err", err)
		}
	}
}
