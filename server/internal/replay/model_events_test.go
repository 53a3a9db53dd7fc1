package replay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fanfare/server/store"
)

// poison begins messages that some explicit clients' dialect cannot encode.
const poison = "poison"

// event does one thing.
func (m *model) event() {
	kinds := []func(){
		m.workOne, m.advance, m.push, m.notify, m.clientReads, m.pong, m.nextStage, m.nextStage,
		m.subscribe, m.unsubscribe, m.livePush, m.explicitAck, m.clientEnds, m.detach,
		m.serverCloses, func() { m.connect() }, m.workOne, m.clientReads, m.pong, m.openSession,
		m.storeFails, m.storeChanges, m.evict, m.recheckAll, m.openSession, m.push, m.notify, m.explicitAck,
	}
	switch m.world {
	case devices:
		kinds = []func(){m.workOne, m.push, m.notify, m.clientReads, m.pong}
	case small:
		kinds = []func(){m.workOne, m.push, m.notify, m.clientReads, m.nextStage, m.subscribe, m.unsubscribe, m.livePush, m.detach}
	}
	kinds[m.tape.next(len(kinds))]()
}

func (m *model) workOne() {
	if s := m.next(false); s != nil {
		m.note("work on %d", s.receiver.ID())
		m.serve(s)
	}
}

func (m *model) advance() {
	d := tickInterval << m.detail(5)
	m.note("%v pass", d)
	m.clock.advance(d)
	m.tick(m.clock.Now())
}

func (m *model) recheckAll() {
	m.note("recheck")
	m.recheck()
}

// openSession connects a session and brings it through all stages.
func (m *model) openSession() {
	if s := m.connect(); s != nil {
		for s.stage < running {
			m.advanceStage(s)
		}
	}
}

// connect makes a session that is not listed yet, nil if there are enough.
func (m *model) connect() *modelSession {
	present := 0
	for _, s := range m.sessions {
		if s.stage < detached {
			present++
		}
	}
	if present == 6 {
		return nil
	}
	s := m.newSession()
	user := modelUsers[m.detail(len(modelUsers))]
	mode := AckByPong
	if m.world != devices {
		mode = []AckMode{AckByPong, AckExplicit, AckNone, AckByPong}[m.tape.next(4)]
	}
	s.receiver = m.receiver(user, mode)
	s.kernelMax = []int{1 << 20, 3, 0}[m.detail(3)]
	s.wrong = m.detail(8) == 7
	s.noPings = m.detail(8) == 7
	if mode == AckExplicit && m.detail(3) == 2 {
		s.dialect = poison
	}
	s.check = s.checkWrite
	m.sessions = append(m.sessions, s)
	m.note("session %d of %s: mode %d, kernel %d, wrong pongs %v, no pings %v", s.id, user, mode, s.kernelMax, s.wrong, s.noPings)
	return s
}

func (m *model) newSession() *modelSession {
	return &modelSession{m: m, topics: make(map[string]bool), at: make(map[store.Box]Begin), got: make(map[string]bool), resumed: make(map[store.Box]Start), wanted: make(map[store.Box]wanted)}
}

// nextStage brings a session on its way to be open.
func (m *model) nextStage() {
	if s := m.pickStage(made, attached); s != nil {
		m.advanceStage(s)
	}
}

func (m *model) advanceStage(s *modelSession) {
	switch s.stage {
	case made: // in the registry, where server-side subscribes find it
		m.note("session %d is listed", s.id)
	case listed:
		var start Start
		if s.mode == AckExplicit && m.detail(2) == 1 {
			start = m.resume[inboxOf(s.user)]
		}
		var subs []Subscription
		for _, name := range modelTopics {
			if m.detail(3) == 1 {
				s.topics[name] = true
				sub := Subscription{Topic: name, Remember: m.detail(2) == 1}
				if s.mode == AckExplicit && m.detail(2) == 1 {
					sub.Start = m.resume[store.Box{User: s.user, Topic: name}]
				} else if m.detail(3) == 2 {
					sub.Start.Rewind = uint16(1 + m.detail(3))
				}
				subs = append(subs, sub)
			}
		}
		m.note("session %d is attached: %+v %+v", s.id, start, subs)
		s.attach(start, subs)
	case attached:
		m.note("session %d is open", s.id)
		s.phase = Open
		m.Open(s.receiver)
	}
	s.stage++
}

func (s *modelSession) attach(start Start, subs []Subscription) {
	m := s.m
	s.epochs = m.store.epochs
	if !start.Resume {
		s.acked, _ = m.store.position(inboxOf(s.user), s.user)
	}
	s.resumed[inboxOf(s.user)] = start
	for _, sub := range subs {
		b := topic(sub.Topic)
		if state := m.find(s.receiver); state == nil || state.stream(b) == nil {
			s.wanted[b] = wanted{m.clock.Now(), m.store.epochs}
		} else if state.stream(b).start.Rewind > 0 {
			continue // a subscribe came first
		}
		s.resumed[b] = sub.Start
	}
	if _, ok := m.AttachEmpty(s.receiver, start, len(subs)); ok && s.id%2 == 0 {
		s.since = m.clock.Now().Truncate(tickInterval)
		return
	}
	m.attach(s.receiver, start, subs)
}

// push stores a message; its notices come later, or never.
func (m *model) push() {
	box := inboxOf(modelUsers[m.detail(len(modelUsers))])
	size := 8
	if m.world != devices {
		if m.tape.next(2) == 1 {
			box = topic(modelTopics[m.detail(len(modelTopics))])
		}
		size = []int{8, 900, 60, 150}[m.tape.next(4)]
	}
	var ttl time.Duration
	if m.detail(8) == 7 {
		ttl = 3 * tickInterval
	}
	m.ids++
	text := fmt.Sprint("m", m.ids, ".")
	if m.detail(8) == 7 {
		text = poison + text
	}
	id, _, _ := strings.Cut(text, ".")
	r := m.store.append(box, text+strings.Repeat("x", size-len(text)%8), ttl)
	m.note("%s stored: %v@%d", text, box, r.Offset)
	for _, s := range m.sessions {
		if s.stage == running && s.phase == Open && (box.User == s.user || s.topics[box.Topic]) {
			s.owed = append(s.owed, owed{box, r.Offset, id})
		}
	}
	n := m.NewNotice(box, r.Offset, r.Prev, text+strings.Repeat("x", size-len(text)%8))
	if m.detail(4) == 3 {
		n.Shared = nil
	}
	m.notices = append(m.notices, modelNotice{n, id})
}

// notify delivers one of the notices that are under way.
func (m *model) notify() {
	if len(m.notices) == 0 {
		return
	}
	i := m.tape.next(len(m.notices))
	n := m.notices[i]
	only := 0 // 0: all sessions
	if m.world != small && m.tape.next(2) == 1 && len(m.sessions) > 0 {
		only = 1 + m.tape.next(len(m.sessions)) // the others later
	} else if m.detail(4) != 3 { // otherwise it comes again
		m.notices = slices.Delete(m.notices, i, i+1)
	}
	m.note("notice of %v@%d to %d", n.Box, n.Offset, only)
	m.spread(n, only)
}

// spread delivers a notice to one session, or to all.
func (m *model) spread(n modelNotice, only int) {
	for i, s := range m.sessions {
		if (only == 0 || only == i+1) && s.stage >= listed && s.stage <= running && (n.Box.User == s.user || s.topics[n.Box.Topic]) {
			if m.Notify(s.receiver, n.Notice) && n.Offset > s.resumed[n.Box].Offset {
				m.note("session %d counts for %s", s.id, n.id)
				s.owed = append(s.owed, owed{n.Box, n.Offset, n.id})
			}
		}
	}
}

func (m *model) subscribe() {
	s := m.pickStage(listed, ended)
	if s == nil {
		return
	}
	sub := Subscription{Topic: modelTopics[m.detail(len(modelTopics))], Remember: m.detail(2) == 1}
	if s.mode == AckExplicit && m.detail(2) == 1 {
		sub.Start = m.resume[store.Box{User: s.user, Topic: sub.Topic}]
	} else if m.detail(3) == 2 {
		sub.Start.Rewind = uint16(1 + m.detail(3))
	}
	m.note("session %d subscribes %+v", s.id, sub)
	was := s.topics[sub.Topic]
	added, err := m.Subscribe(s.receiver, sub, func() error {
		s.topics[sub.Topic] = true
		return nil
	})
	if err == nil && added == was {
		faultf("session %d: added %v, was subscribed %v", s.id, added, was)
	}
	if added {
		delete(s.at, topic(sub.Topic))
		s.resumed[topic(sub.Topic)], s.wanted[topic(sub.Topic)] = sub.Start, wanted{m.clock.Now(), m.store.epochs}
	}
}

func (m *model) unsubscribe() {
	s := m.pickStage(listed, ended)
	if s == nil {
		return
	}
	name := modelTopics[m.detail(len(modelTopics))]
	m.note("session %d unsubscribes %s", s.id, name)
	m.Unsubscribe(s.receiver, name, func() {
		delete(s.topics, name)
		s.owed = slices.DeleteFunc(s.owed, func(o owed) bool { return o.box.Topic == name })
	})
}

func (m *model) livePush() {
	s := m.pickStage(running, running)
	if s == nil {
		return
	}
	m.lives++
	text := fmt.Sprint("live", m.lives)
	m.note("%s to session %d", text, s.id)
	s.given = append(s.given, text)
	w := &wire{kind: "live", text: text, size: []int{10, 100, 300}[m.detail(3)]}
	if s.hold && m.Hold(s.receiver, w) {
		return
	}
	if !s.WriteLive(w) {
		s.dropped = append(s.dropped, w)
	}
}

// clientReads lets a client read some frames.
func (m *model) clientReads() {
	s := m.pick(func(s *modelSession) bool { return s.stage >= running && len(s.kernel)+len(s.queue) > 0 })
	if s == nil {
		return
	}
	n := 1 + m.detail(4)
	m.note("client %d reads up to %d of %d+%d", s.id, n, len(s.kernel), len(s.queue))
	for range n {
		if s.kernelMax == 0 { // a goroutine writes, as on a connection without descriptor
			s.kernelMax = 1
			s.drain()
			s.kernelMax = 0
		}
		s.clientRead()
	}
}

func (s *modelSession) clientRead() bool {
	w := s.receiver.read()
	if w == nil {
		return false
	}
	key := store.Box{User: s.user, Topic: w.message.Box.Topic}
	switch w.kind {
	case "ping":
		s.pongs = append(s.pongs, w.text)
	case "stored":
		id, _, _ := strings.Cut(w.text, ".")
		s.m.read[s.user][id] = true
		s.acks = append(s.acks, w.message)
		s.m.resume[key] = Start{Resume: true, Epoch: w.message.Epoch, Offset: w.message.Offset}
	}
	return true
}

// pong brings the answer to a ping to the server.
func (m *model) pong() {
	s := m.pick(func(s *modelSession) bool { return s.stage >= running && s.stage < detached && len(s.pongs) > 0 })
	if s == nil {
		return
	}
	payload := s.pongs[0]
	s.pongs = s.pongs[1:]
	if s.wrong && !m.quiet {
		payload = ""
	}
	m.note("pong %q of client %d", payload, s.id)
	if m.Pong(s.receiver, []byte(payload)) {
		for i, w := range s.flight {
			if w.kind == "ping" && w.text == payload {
				s.flight = s.flight[i+1:]
				break
			}
		}
	}
}

func (m *model) explicitAck() {
	s := m.pick(func(s *modelSession) bool { return s.mode == AckExplicit && len(s.acks) > 0 && s.stage < detached })
	if s == nil {
		return
	}
	i := m.tape.next(len(s.acks))
	a := s.acks[i]
	s.acks = s.acks[i+1:]
	m.acknowledge(s, a)
	state := m.find(s.receiver)
	if state == nil {
		return
	}
	if st := state.stream(a.Box); st != nil && m.Ack(s.receiver, a.Box.Topic, st.epoch, st.sent+1) == nil {
		faultf("session %d: an ack of what was not sent counts", s.id)
	}
}

// acknowledge has a client acknowledge a message that it has got in this session. In a
// topic it may have unsubscribed since.
func (m *model) acknowledge(s *modelSession, a Message) {
	m.note("client %d acknowledges %v@%d", s.id, a.Box, a.Offset)
	err := m.Ack(s.receiver, a.Box.Topic, a.Epoch, a.Offset)
	if err != nil && a.Box.User != "" && s.phase == Open && m.store.epochs <= mostPast {
		faultf("session %d: an ack of a message that it has got: %v", s.id, err)
	}
}

func (m *model) clientEnds() {
	s := m.pickStage(running, running)
	if s == nil {
		return
	}
	code := []int{0, 1000, 1009}[m.tape.next(3)]
	m.note("client %d closes with %d", s.id, code)
	s.phase, s.stage = Ended, detached
	if m.tape.next(2) == 1 {
		s.stage = ended
		return
	}
	m.Detach(s.receiver, code)
}

func (m *model) detach() {
	s := m.pickStage(made, ended)
	if s == nil || s.stage == running {
		return
	}
	m.note("session %d is gone", s.id)
	s.phase, s.stage = Ended, detached
	m.Detach(s.receiver, 0)
}

func (m *model) serverCloses() {
	s := m.pickStage(running, running)
	if s == nil {
		return
	}
	m.note("session %d is closed", s.id)
	m.Flush(s.receiver)
	s.phase, s.stage = Ended, ended
}
