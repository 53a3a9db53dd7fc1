package replay

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/server/store"
)

// The model runs a service, a store, sessions and their clients in one goroutine by
// a schedule, the choices of a tape. Whenever the service asks the store, and before
// and after the store has answered, other events may happen: so every interleaving
// that locks allow can come up. After every step, and at the end when everything is
// delivered, it must hold that
//
//   - a position is stored only when clients of the user have read all up to there;
//   - a session gets the messages of a box in order and without an unannounced gap;
//   - nothing of a topic is written before its subscribe or after its unsubscribe;
//   - a hello precedes everything else, live messages keep their order, and those
//     that were held are written or dropped once each;
//   - at most a window is in flight, and replay alone never fills a queue;
//   - every open session gets everything, and no state stays when all are gone.

// modelSession is a session with its client.
type modelSession struct {
	*receiver
	m      *model
	stage  int // made, listed, attached, open, ended, detached
	topics map[string]bool

	// What was written, by box.
	at      map[store.Box]Begin // the last offset and its epoch
	flight  []*wire             // stored frames since the last pong, and pings
	wrong   bool                // its pongs are wrong
	hello   bool
	given   []string // live messages that were pushed, in order
	written []string

	// What the client has read.
	pongs []string
	acks  []Message
}

const (
	made = iota
	listed
	attached
	running
	ended
	detached
)

type model struct {
	*rig
	tape     *tape
	log      []string
	depth    int
	quiet    bool // no more events at the store
	sessions []*modelSession
	notices  []*Notice
	resume   map[store.Box]Start // of the user's explicit client
	ids      int
	lives    int
	read     map[string]map[string]bool // by user, the messages that clients have read
	small    bool                       // few kinds of events, for every
}

var (
	modelUsers  = []string{"alice", "bob"}
	modelTopics = []string{"news", "sports"}
)

func newModel(t testing.TB, choices *tape, small bool) *model {
	m := &model{tape: choices, small: small, resume: make(map[store.Box]Start), read: make(map[string]map[string]bool)}
	m.rig = newRig(t, func(c *Config) {
		c.Window = 400
		c.Settle = 3 * tickInterval
		c.Receivers = func(yield func(Receiver) bool) {
			for _, s := range m.sessions {
				if s.phase == Open && !yield(s.receiver) {
					return
				}
			}
		}
		if choices.next(2) == 1 {
			c.Sync = func(_ context.Context, b store.Box) error { return m.store.do("sync", func() {}) }
		}
	})
	m.store.hook = m.meanwhile
	m.store.acking = m.acking
	for _, u := range modelUsers {
		m.read[u] = make(map[string]bool)
	}
	return m
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, strings.Repeat("  ", m.depth)+fmt.Sprintf(format, args...))
}

// meanwhile lets something happen while the store is asked.
func (m *model) meanwhile(op string) {
	if m.quiet || m.depth >= 3 || m.tape.done() {
		return
	}
	m.depth++
	for m.tape.next(3) == 1 && !m.tape.done() {
		m.note("(%s)", op)
		m.event()
	}
	m.depth--
}

// detail is next for what a small world leaves out.
func (m *model) detail(n int) int {
	if m.small {
		return 0
	}
	return m.tape.next(n)
}

func (m *model) pick(ok func(*modelSession) bool) *modelSession {
	var l []*modelSession
	for _, s := range m.sessions {
		if ok(s) {
			l = append(l, s)
		}
	}
	if len(l) == 0 {
		return nil
	}
	return l[m.tape.next(len(l))]
}

func (m *model) pickStage(from, to int) *modelSession {
	return m.pick(func(s *modelSession) bool { return s.stage >= from && s.stage <= to })
}

// event does one thing.
func (m *model) event() {
	kinds := []func(){
		m.workOne, m.advance, m.push, m.notify, m.clientReads, m.pong, m.nextStage, m.nextStage,
		m.subscribe, m.unsubscribe, m.livePush, m.explicitAck, m.clientEnds, m.detach,
		m.serverCloses, m.connect, m.workOne, m.clientReads, m.pong, m.connect,
		m.storeFails, m.storeChanges, m.evict, m.recheckAll,
	}
	if m.small {
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

func (m *model) connect() {
	if len(m.sessions) >= 6 {
		return
	}
	s := &modelSession{m: m, topics: make(map[string]bool), at: make(map[store.Box]Begin)}
	user := modelUsers[m.detail(len(modelUsers))]
	mode := []AckMode{AckByPong, AckExplicit, AckNone, AckByPong}[m.tape.next(4)]
	s.receiver = m.receiver(user, mode)
	s.kernelMax = []int{1 << 20, 3, 0}[m.detail(3)]
	s.wrong = m.detail(8) == 7
	s.noPings = m.detail(8) == 7
	s.check = s.checkWrite
	m.sessions = append(m.sessions, s)
	m.note("session %d of %s: mode %d, kernel %d, wrong pongs %v, no pings %v", s.id, user, mode, s.kernelMax, s.wrong, s.noPings)
}

// nextStage brings a session on its way to be open.
func (m *model) nextStage() {
	s := m.pickStage(made, attached)
	if s == nil {
		return
	}
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
				}
				subs = append(subs, sub)
			}
		}
		m.note("session %d is attached: %+v %+v", s.id, start, subs)
		s.hold = true
		m.Attach(s.receiver, start, subs)
	case attached:
		m.note("session %d is open", s.id)
		s.phase = Open
		m.Open(s.receiver)
	}
	s.stage++
}

// push stores a message; its notices come later, or never.
func (m *model) push() {
	box := inboxOf(modelUsers[m.detail(len(modelUsers))])
	if m.tape.next(2) == 1 {
		box = topic(modelTopics[m.detail(len(modelTopics))])
	}
	size := []int{8, 900, 60, 150}[m.tape.next(4)]
	var ttl time.Duration
	if m.detail(8) == 7 {
		ttl = 3 * tickInterval
	}
	m.ids++
	text := fmt.Sprint("m", m.ids, ".")
	r := m.store.append(box, text+strings.Repeat("x", size-len(text)%8), ttl)
	m.note("%s stored: %v@%d", text, box, r.Offset)
	n := m.NewNotice(box, r.Offset, r.Prev, text+strings.Repeat("x", size-len(text)%8))
	if m.detail(4) == 3 {
		n.Shared = nil
	}
	m.notices = append(m.notices, n)
}

// notify delivers one of the notices that are under way.
func (m *model) notify() {
	if len(m.notices) == 0 {
		return
	}
	i := m.tape.next(len(m.notices))
	n := m.notices[i]
	if m.detail(4) != 3 { // otherwise it comes again
		m.notices = slices.Delete(m.notices, i, i+1)
	}
	m.note("notice of %v@%d", n.Box, n.Offset)
	m.spread(n)
}

func (m *model) spread(n *Notice) {
	for _, s := range m.sessions {
		if s.stage >= listed && s.stage <= running && (n.Box.User == s.user || s.topics[n.Box.Topic]) {
			m.Notify(s.receiver, n)
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
	}
}

func (m *model) unsubscribe() {
	s := m.pickStage(listed, ended)
	if s == nil {
		return
	}
	name := modelTopics[m.detail(len(modelTopics))]
	m.note("session %d unsubscribes %s", s.id, name)
	m.Unsubscribe(s.receiver, name, func() { delete(s.topics, name) })
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
		s.m.resume[key] = Start{true, w.message.Epoch, w.message.Offset}
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
	m.note("client %d acknowledges %v@%d", s.id, a.Box, a.Offset)
	m.Ack(s.receiver, a.Box.Topic, a.Epoch, a.Offset)
	state := m.find(s.receiver)
	if state == nil {
		return
	}
	if st := state.stream(a.Box); st != nil && m.Ack(s.receiver, a.Box.Topic, st.epoch, st.sent+1) == nil {
		faultf("session %d: an ack of what was not sent counts", s.id)
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

func (m *model) storeFails() {
	m.note("store down: %v", !m.store.down)
	m.store.setDown(!m.store.down)
	if !m.store.down {
		m.recheck()
	}
}

func (m *model) storeChanges() {
	switch m.tape.next(4) {
	case 0:
		m.note("store opened again")
		m.store.reopen()
	case 1:
		m.note("store saved")
		m.store.save()
	case 2:
		m.note("store restored")
		m.store.restore()
	case 3:
		m.note("replica lags")
		m.store.lag = 2
	}
}

func (m *model) evict() {
	box := inboxOf(modelUsers[m.detail(len(modelUsers))])
	m.note("the first of %v is removed", box)
	m.store.removeFirst(box)
}

// checkWrite is called before a frame is written.
func (s *modelSession) checkWrite(w *wire) {
	if s.stage != running && s.m.depth == 0 && s.stage != attached {
		faultf("session %d in stage %d: %v is written", s.id, s.stage, w)
	}
	switch w.kind {
	case "begin":
		s.checkBegin(w.begin)
	case "live":
		if s.mode == AckExplicit && !s.hello {
			faultf("session %d: %s before hello", s.id, w.text)
		}
		s.written = append(s.written, w.text)
	case "ping":
		s.flight = append(s.flight, w)
	case "stored":
		s.checkStored(w)
	}
}

func (s *modelSession) checkBegin(b Begin) {
	if b.Box.User != "" {
		s.hello = true
	} else if !s.topics[b.Box.Topic] {
		faultf("session %d: begin of a topic that is not subscribed", s.id)
	}
	if at, ok := s.at[b.Box]; ok && !b.Unknown && at.Epoch != "" {
		faultf("session %d: %v begins twice", s.id, b.Box)
	}
	if !b.Unknown {
		s.at[b.Box] = b
	}
}

func (s *modelSession) checkStored(w *wire) {
	b := &w.message
	if b.Box.Topic != "" && !s.topics[b.Box.Topic] {
		faultf("session %d: message of a topic that is not subscribed", s.id)
	}
	at, ok := s.at[b.Box]
	if s.mode == AckExplicit && (!ok || !s.hello && b.Box.User != "") {
		faultf("session %d: %s before it began", s.id, w.text)
	}
	if ok {
		s.checkNext(at, b)
	}
	s.at[b.Box] = Begin{Epoch: b.Epoch, Offset: b.Offset}
	s.flight = append(s.flight, w)
	if s.wrong || s.noPings {
		return
	}
	flight, n := 0, 0
	for _, w := range s.flight {
		if w.kind == "stored" {
			flight += w.size + entryCost
			n++
		}
	}
	if flight > s.svc.cfg.Window && n > 1 {
		faultf("session %d: %d bytes in flight", s.id, flight)
	}
	if len(s.queue) > 0 && s.cost()+w.size+entryCost > s.limit {
		faultf("session %d: replay fills the queue", s.id)
	}
}

// checkNext compares a message with the one before it.
func (s *modelSession) checkNext(at Begin, b *Message) {
	f := s.m.store
	continues := at.Epoch == b.Epoch
	if limit, ok := f.valid[at.Epoch]; ok && b.Epoch == f.epoch() {
		continues = at.Offset <= limit
	}
	switch {
	case at.Epoch != b.Epoch && b.Gap:
		return // it may have been at an expired message that is gone
	case continues && b.Offset <= at.Offset:
		faultf("session %d: %d after %d", s.id, b.Offset, at.Offset)
	case b.Epoch != f.epoch() || b.Gap:
		return
	case !continues:
		faultf("session %d: another history without a gap", s.id)
	}
	for _, missed := range f.boxes[b.Box] {
		if missed.Offset > at.Offset && missed.Offset < b.Offset {
			faultf("session %d: %d after %d, but not %d, and no gap", s.id, b.Offset, at.Offset, missed.Offset)
		}
	}
}

// acking is called before a position is stored.
func (m *model) acking(b store.Box, user string, from, to uint64, known bool) {
	if !known && b.Topic != "" {
		return // the start of a subscriber
	}
	for _, s := range m.sessions {
		// The position of a user is one for all devices: an acknowledgement by
		// one that subscribed later covers what came before it subscribed.
		if state := m.find(s.receiver); state != nil && s.user == user && b.Topic != "" && state.stream(b) != nil {
			from = max(from, state.stream(b).from)
		}
	}
	for _, msg := range m.store.boxes[b] {
		id, _, _ := strings.Cut(string(msg.Payload), ".")
		skipped := m.refusals.count(refusalKey{user, b, m.store.epoch(), msg.Offset}) > 1
		if msg.Offset > from && msg.Offset <= to && !m.read[user][id] && !msg.Expired(m.clock.Now()) && !skipped {
			faultf("%v of %s acknowledged up to %d, but no client has read %s@%d", b, user, to, id, msg.Offset)
		}
	}
}

// settle lets everything be delivered, and checks that it was.
func (m *model) settle() {
	m.quiet = true
	m.note("settle")
	m.store.down = false
	m.store.lag = 0
	for _, n := range m.notices {
		m.spread(n)
	}
	m.notices = nil
	for _, s := range m.sessions {
		for s.stage == made || s.stage == listed || s.stage == attached {
			s.stage = max(s.stage, listed)
			if s.stage == listed {
				s.hold = true
				m.Attach(s.receiver, Start{}, nil)
			} else {
				s.phase = Open
				m.Open(s.receiver)
			}
			s.stage++
		}
	}
	m.recheck()
	m.drainAll()
	for _, s := range m.sessions {
		if s.stage == running && s.phase == Open {
			m.checkSettled(s)
		}
	}
	m.checkReconnect()
	for _, s := range m.sessions {
		s.phase = Ended
		if s.stage < detached {
			m.Detach(s.receiver, 0)
		}
		s.checkLive()
	}
	m.drainAll()
	if n := m.Stats(); n.Sessions != 0 || n.Waiting != 0 || len(m.holders) != 0 || len(m.looks) != 0 || n.Panics != 0 {
		faultf("left at the end: %+v, %d holders, %d looks", n, len(m.holders), len(m.looks))
	}
}

// drainAll lets clients read and answer until nothing moves.
func (m *model) drainAll() {
	for range 300 {
		m.work()
		m.clock.advance(tickInterval)
		m.tick(m.clock.Now())
		moved := false
		for _, s := range m.sessions {
			s.kernelMax = 1 << 20
			s.drain()
			for s.clientRead() {
				moved = true
			}
			for len(s.pongs) > 0 && s.stage < detached {
				payload := s.pongs[0]
				s.pongs = s.pongs[1:]
				moved = true
				if m.Pong(s.receiver, []byte(payload)) {
					s.flight = nil
				}
			}
		}
		n := m.Stats()
		if !moved && n.Waiting == 0 && len(m.looks) == 0 && len(m.holders) == 0 {
			return
		}
	}
	faultf("does not settle: %+v", m.Stats())
}

// checkSettled: an open session has everything.
func (m *model) checkSettled(s *modelSession) {
	if s.hold {
		faultf("session %d still holds live messages", s.id)
	}
	boxes := []store.Box{inboxOf(s.user)}
	for name := range s.topics {
		boxes = append(boxes, topic(name))
	}
	state := m.find(s.receiver)
	for _, b := range boxes {
		l := m.store.boxes[b]
		for len(l) > 0 && (l[len(l)-1].Expired(m.clock.Now()) || m.refusals.count(refusalKey{s.user, b, m.store.epoch(), l[len(l)-1].Offset}) > 1) {
			l = l[:len(l)-1]
		}
		if len(l) == 0 || s.mode != AckExplicit && b.User != "" && s.hasRead(l) {
			continue
		}
		at := s.at[b]
		if at.Epoch == "" && state != nil && state.stream(b) != nil {
			at.Offset = state.stream(b).sent // began there, and had no message
		}
		if last := l[len(l)-1].Offset; at.Offset < last {
			faultf("session %d does not get %v@%d: it is at %+v", s.id, b, last, at)
		}
	}
	if state == nil && (s.mode == AckExplicit || len(s.topics) > 0) {
		faultf("session %d has no state", s.id)
	}
	if state != nil && state.state != idle {
		faultf("session %d is %v", s.id, state.state)
	}
}

// hasRead reports whether clients of the user have read all these messages.
func (s *modelSession) hasRead(l []store.Message) bool {
	return !slices.ContainsFunc(l, func(msg store.Message) bool {
		id, _, _ := strings.Cut(string(msg.Payload), ".")
		return !s.m.read[s.user][id]
	})
}

// checkReconnect: whatever is stored in an inbox was read by the user's clients,
// after one more of them has connected.
func (m *model) checkReconnect() {
	for _, user := range modelUsers {
		s := &modelSession{m: m, topics: make(map[string]bool), at: make(map[store.Box]Begin), stage: running}
		s.receiver = m.receiver(user, AckByPong)
		s.check = s.checkWrite
		m.sessions = append(m.sessions, s)
		m.open(s.receiver, Start{})
	}
	m.drainAll()
	for _, user := range modelUsers {
		for _, msg := range m.store.boxes[inboxOf(user)] {
			id, _, _ := strings.Cut(string(msg.Payload), ".")
			key := refusalKey{user, inboxOf(user), m.store.epoch(), msg.Offset}
			if !m.read[user][id] && !msg.Expired(m.clock.Now()) && m.refusals.count(key) < 2 {
				faultf("%s of %s was never read", id, user)
			}
		}
	}
}

// checkLive: in order, and each written or dropped once.
func (s *modelSession) checkLive() {
	var dropped []string
	for _, w := range s.dropped {
		dropped = append(dropped, w.text)
	}
	var want []string
	for _, text := range s.given {
		if i := slices.Index(dropped, text); i >= 0 {
			dropped = slices.Delete(dropped, i, i+1)
		} else {
			want = append(want, text)
		}
	}
	written := slices.DeleteFunc(slices.Clone(s.written), func(text string) bool { return !slices.Contains(want, text) })
	if !slices.Equal(written, want) || len(dropped) > 0 {
		faultf("session %d: live messages %q, written %q, want %q", s.id, s.given, s.written, want)
	}
}

// runModel runs one schedule, and returns what went wrong.
func runModel(t testing.TB, choices *tape, small bool) (wrong string, log []string) {
	m := newModel(t, choices, small)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fault:
			wrong, log = string(p), m.log
		default:
			wrong, log = fmt.Sprintf("%v\n%s", p, debug.Stack()), m.log
		}
	}()
	if small {
		m.sessions = nil
		m.connect()
	}
	for !choices.done() {
		m.event()
	}
	m.settle()
	return "", nil
}

func reportModel(t *testing.T, name string, choices []int, small bool) {
	t.Helper()
	short := shrink(choices, func(try []int) bool {
		wrong, _ := runModel(t, &tape{choices: try}, small)
		return wrong != ""
	})
	wrong, log := runModel(t, &tape{choices: short}, small)
	t.Fatalf("%s: %s\nchoices %v, %d steps:\n%s", name, wrong, short, len(log), strings.Join(log, "\n"))
}

// TestRandomSchedules runs thousands of schedules of a few hundred choices.
func TestRandomSchedules(t *testing.T) {
	n := uint64(10000)
	if testing.Short() || raceEnabled {
		n = 1000 // one goroutine: there is nothing for the race detector to find
	}
	for seed := range n {
		choices := randomTape(seed, 60+int(seed%5)*120)
		if wrong, _ := runModel(t, &tape{choices: choices.choices}, false); wrong != "" {
			reportModel(t, fmt.Sprint("seed ", seed), choices.choices, false)
		}
	}
}

// TestEverySchedule runs every schedule of a small world up to a depth.
func TestEverySchedule(t *testing.T) {
	depth := 7
	if testing.Short() || raceEnabled {
		depth = 5
	}
	n := every(depth, func(choices *tape) {
		if wrong, _ := runModel(t, choices, true); wrong != "" {
			reportModel(t, "small world", choices.choices, true)
		}
	})
	t.Logf("%d schedules", n)
}
