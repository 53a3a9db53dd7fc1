package presence

import "time"

// member is what a node remembers of what it has sent to the leader.
type member struct {
	session uint64
	todo    []Name // held at the begin of the session and not sent yet
	changes []Item // since then, not sent yet
	number  uint64 // of the next part
	part    *Message
	sent    time.Duration // when part was sent last
	begun   bool          // the last part of todo was made
	synced  bool          // and acknowledged

	acked    uint64 // items that the leader has
	round    uint64 // answered
	awaited  uint64 // round that is answered when the leader has until items; 0: none
	until    uint64
	lastSeen uint64 // the highest round
}

// restart begins a new session, or none if held is nil.
func (m *member) restart(held map[Name]struct{}) {
	*m = member{session: m.session + 1}
	if held != nil {
		m.todo = sortedNames(held)
	}
}

// noteRound notes that the leader wants an answer when it has all that is known now.
func (m *member) noteRound(round uint64) {
	m.lastSeen = max(m.lastSeen, round)
	if m.awaited == 0 {
		m.await(round)
	}
}

func (m *member) await(round uint64) {
	m.awaited = round
	m.until = m.acked + uint64(len(m.todo)+len(m.changes))
	if m.part != nil {
		m.until += uint64(len(m.part.Items))
	}
	m.settle()
}

// settle answers the awaited round if the leader has enough.
func (m *member) settle() {
	if m.awaited == 0 || m.acked < m.until || !m.synced {
		return
	}
	m.round = max(m.round, m.awaited)
	m.awaited = 0
	if m.lastSeen > m.round {
		m.await(m.lastSeen)
	}
}

func (m *member) answer(term uint64) Message {
	return Message{Kind: Beat, Term: term, Session: m.session, Round: m.round}
}

// next returns a part that is to be sent now, nil if there is none.
func (m *member) next(now time.Duration) *Message {
	if m.part == nil {
		if m.begun && len(m.changes) == 0 {
			return nil
		}
		m.part = m.make()
	} else if now-m.sent < resendAfter {
		return nil
	}
	m.sent = now
	return m.part
}

// make makes the next part: of what is held first, then of what has changed.
func (m *member) make() *Message {
	p := &Message{Kind: Part, Session: m.session, Number: m.number}
	m.number++
	bytes := 0
	for len(m.todo) > 0 && bytes < maxPart && len(p.Items) < maxItems {
		p.Items = append(p.Items, Item{m.todo[0], true})
		bytes += len(m.todo[0])
		m.todo = m.todo[1:]
	}
	if len(m.todo) > 0 {
		return p
	}
	if !m.begun {
		m.begun, p.Last, m.todo = true, true, nil
	}
	used := 0
	for used < len(m.changes) && bytes < maxPart && len(p.Items) < maxItems {
		bytes += len(m.changes[used].Name)
		used++
	}
	p.Items = append(p.Items, m.changes[:used]...)
	if m.changes = m.changes[used:]; len(m.changes) == 0 {
		m.changes = nil // releases the memory
	}
	return p
}

// acknowledged handles Ack. It reports whether the part is the one that was sent.
func (m *member) acknowledged(a *Message) bool {
	if m.part == nil || a.Session != m.session || a.Number != m.part.Number {
		return false
	}
	m.acked += uint64(len(m.part.Items))
	m.synced = m.synced || m.part.Last
	m.part = nil
	m.settle()
	return true
}
