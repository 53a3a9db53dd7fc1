package webhook

import (
	"time"

	"fanfare/server"
)

// presence turns "the last session has ended" into "the user is offline", after a grace
// period. Only users within the period take memory. It is owned by the recorder.
type presence struct {
	grace   time.Duration // immutable
	leaving map[string]leave
	queue   []leave // in the order of due, because grace is constant; some were canceled
}

// leave is a user whose last session has ended.
type leave struct {
	user     string
	due      time.Time // when the user is offline
	lastSeen time.Time // zero: before a restart
}

func newPresence(grace time.Duration) *presence {
	return &presence{grace: grace, leaving: make(map[string]leave)}
}

// gone starts the grace period of a user.
func (p *presence) gone(user string, now, lastSeen time.Time) {
	l := leave{user: user, due: now.Add(p.grace), lastSeen: lastSeen}
	p.leaving[user] = l
	p.queue = append(p.queue, l)
}

// observe returns the event if it is to be reported now.
func (p *presence) observe(e server.Event, now time.Time) bool {
	switch e.Kind {
	case server.UserOnline:
		_, stayed := p.leaving[e.User]
		delete(p.leaving, e.User)
		return !stayed
	case server.UserOffline:
		p.gone(e.User, now, e.Time)
		return false
	}
	return true
}

// expired returns events for the users whose grace period has ended. Event.Opened is when
// the last session of the user ended.
func (p *presence) expired(now time.Time) (events []server.Event) {
	n := 0
	for ; n < len(p.queue) && !p.queue[n].due.After(now); n++ {
		l := p.queue[n]
		if p.leaving[l.user] == l { // else the user has come back
			delete(p.leaving, l.user)
			events = append(events, server.Event{Kind: server.UserOffline, Time: now, User: l.user, Opened: l.lastSeen})
		}
	}
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil // releases the memory
	}
	return events
}

// next returns when expired is to be called, zero if never.
func (p *presence) next() time.Time {
	if len(p.queue) == 0 {
		return time.Time{}
	}
	return p.queue[0].due
}
