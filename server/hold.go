package server

import (
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
)

// hold keeps what is pushed to a session while the messages that waited for it
// are on their way, so that nothing newer comes before them. It is bounded, by
// the bytes of a window and by holdMost: at either the session gets what was held
// at once, and the rest of what waited behind it.
type hold struct {
	on       bool
	flushing bool
	messages []heldMessage
	bytes    int
	since    time.Time // of the first
}

type heldMessage struct {
	p      *frame.Prepared
	policy netpoll.Policy
}

// holdMost is how long a message for now waits for older ones, about: it is
// looked at every unreadRetry.
const holdMost = time.Second

// holdBit in a session's state: messages are held. It is there so that nobody else
// pays for this.
const holdBit = 1 << 29

// keep holds a message. It reports false if there is no reason to any more.
func (u *unread) keep(s *Session, p *frame.Prepared, policy netpoll.Policy) bool {
	m := u.find(s)
	if m == nil {
		return false
	}
	m.mu.Lock()
	h := &m.hold
	if !h.on {
		m.mu.Unlock()
		return false
	}
	h.messages = append(h.messages, heldMessage{p, policy})
	h.bytes += p.Len() + messageCost
	first, full := len(h.messages) == 1, h.bytes > u.window
	if first {
		h.since = time.Now()
	}
	m.mu.Unlock()
	if full {
		m.letGo()
	} else if first {
		u.mu.Lock()
		u.holding = append(u.holding, m)
		u.mu.Unlock()
	}
	return true
}

// letGo sends what is held. What comes meanwhile goes behind it.
func (m *mailbox) letGo() {
	s := m.session
	if s.state.Load()&holdBit == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := &m.hold
	if !h.on || h.flushing {
		return
	}
	h.flushing = true
	for len(h.messages) > 0 {
		batch := h.messages
		h.messages = nil
		m.mu.Unlock()
		for _, held := range batch {
			s.outcome(s.conn.Write(s.encoded(held.p), held.policy))
		}
		m.mu.Lock()
	}
	*h = hold{}
	s.state.And(^uint32(holdBit))
}

// letGoOld sends what was held for too long.
func (u *unread) letGoOld(now time.Time) {
	u.mu.Lock()
	all := u.holding
	u.holding = nil
	u.mu.Unlock()
	var left []*mailbox
	for _, m := range all {
		m.mu.Lock()
		on, old := m.hold.on, now.Sub(m.hold.since) >= holdMost
		m.mu.Unlock()
		switch {
		case on && old:
			m.letGo()
		case on && m.session.phase() == open:
			left = append(left, m)
		}
	}
	u.mu.Lock()
	u.holding = append(u.holding, left...)
	u.mu.Unlock()
}
