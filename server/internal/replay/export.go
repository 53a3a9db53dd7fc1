package replay

import (
	"fmt"
	"slices"
	"time"

	"fanfare/server/store"
)

// State is what the service knows of one receiver, for the service of another process that
// goes on with it. It can be encoded as JSON. Frames that are held are not part of it.
type State struct {
	// Epoch and Offset are where the next session of the receiver begins, if it has none
	// now, and From where its first session began. Otherwise Session is not nil.
	Epoch   string        `json:"epoch,omitzero"`
	Offset  uint64        `json:"offset,omitzero"`
	From    uint64        `json:"from,omitzero"`
	Session *SessionState `json:"session,omitzero"`
}

// SessionState is the state of a session; see there.
type SessionState struct {
	Inbox     StreamState   `json:"inbox"`
	Topics    []StreamState `json:"topics,omitzero"`
	Used      bool          `json:"used,omitzero"`
	Flight    int           `json:"flight,omitzero"`
	Largest   *FlightState  `json:"largest,omitzero"`
	Alone     *FlightState  `json:"alone,omitzero"`
	Ping      *PingState    `json:"ping,omitzero"`
	NoAcks    bool          `json:"no_acks,omitzero"`
	Holding   bool          `json:"holding,omitzero"`
	Releasing bool          `json:"releasing,omitzero"`
}

// StreamState is the state of a stream; see there. What was read from the store and not
// written is read again.
type StreamState struct {
	Topic     string    `json:"topic,omitzero"` // empty: the inbox
	Start     Start     `json:"start,omitzero"`
	Since     time.Time `json:"since"`
	Remember  bool      `json:"remember,omitzero"`
	Exempt    bool      `json:"exempt,omitzero"`
	Reader    string    `json:"reader,omitzero"`
	Full      bool      `json:"full,omitzero"`
	Placed    bool      `json:"placed,omitzero"`
	Begun     bool      `json:"begun,omitzero"`
	Hinted    bool      `json:"hinted,omitzero"`
	Check     bool      `json:"check,omitzero"`
	Gap       bool      `json:"gap,omitzero"`
	Known     bool      `json:"known,omitzero"`
	OverQuota bool      `json:"over_quota,omitzero"`
	Pinned    bool      `json:"pinned,omitzero"`
	Solo      bool      `json:"solo,omitzero"`
	Continued bool      `json:"continued,omitzero"`
	Epoch     string    `json:"epoch,omitzero"`
	Past      []string  `json:"past,omitzero"`
	Bound     bound     `json:"bound,omitzero"`
	From      uint64    `json:"from,omitzero"`
	Sent      uint64    `json:"sent,omitzero"`
	Want      uint64    `json:"want,omitzero"`
	Pinged    uint64    `json:"pinged,omitzero"`
	Need      int       `json:"need,omitzero"`
	Acked     uint64    `json:"acked,omitzero"`
	Reported  uint64    `json:"reported,omitzero"`
}

// FlightState is an inFlight.
type FlightState struct {
	Topic  string `json:"topic,omitzero"`
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
	Cost   int    `json:"cost"`
}

// PingState is an outstanding ping.
type PingState struct {
	Serial  uint64        `json:"serial"`
	Flight  int           `json:"flight,omitzero"`
	Marks   []FlightState `json:"marks,omitzero"`
	Largest *FlightState  `json:"largest,omitzero"`
	Wrong   uint8         `json:"wrong,omitzero"`
}

// Export ends the session of a receiver, without a Detach, and returns its state, and the
// frames that it holds, in order. The state is nil if the next session of the receiver needs
// none. Import, here or in another process, is the reverse.
func (v *Service) Export(r Receiver) (st *State, held []Frame) {
	v.use(r, false, func(s *session) {
		st, held = &State{Session: s.export()}, s.held
		s.held, s.heldBytes = nil, 0
		s.end()
	})
	id := r.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if at, ok := sh.left[id]; ok {
		delete(sh.left, id)
		if st == nil {
			st = &State{Epoch: at.epoch, Offset: at.offset, From: at.from}
		}
	}
	return st, held
}

// Describe returns what Export returns, and changes nothing. It returns false while frames are
// held, or are to be.
func (v *Service) Describe(r Receiver) (st *State, ok bool) {
	ok = true
	v.use(r, false, func(s *session) {
		if ok = !s.holding && len(s.held) == 0; ok {
			st = &State{Session: s.export()}
		}
	})
	if st != nil || !ok {
		return st, ok
	}
	id := r.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if at, ok := sh.left[id]; ok {
		st = &State{Epoch: at.epoch, Offset: at.offset, From: at.from}
	}
	return st, true
}

func (s *session) export() *SessionState {
	st := &SessionState{
		Inbox: s.inbox.export(), Used: s.used, Flight: s.flight, Largest: s.largest.export(),
		NoAcks: s.noAcks, Holding: s.holding, Releasing: s.releasing,
	}
	for _, t := range s.topics {
		exported := t.export()
		exported.Reader = s.readers[t.box.Topic]
		st.Topics = append(st.Topics, exported)
	}
	if s.alone != nil {
		st.Alone = s.alone.export()
	}
	if q := s.ping; q != nil {
		st.Ping = &PingState{Serial: q.serial, Flight: q.flight, Largest: q.largest.export(), Wrong: q.wrong}
		for _, m := range q.marks {
			st.Ping.Marks = append(st.Ping.Marks, FlightState{Topic: m.stream.box.Topic, Epoch: m.epoch, Offset: m.offset})
		}
	}
	return st
}

func (st *stream) export() StreamState {
	return StreamState{
		Topic: st.box.Topic, Start: st.start, Since: st.since, Remember: st.remember, Exempt: st.exempt, Full: st.full,
		Placed: st.placed, Begun: st.begun, Hinted: st.hinted, Check: st.check, Gap: st.gap, Known: st.known,
		OverQuota: st.overQuota, Pinned: st.pinned, Solo: st.solo, Continued: st.continued, Epoch: st.epoch, Past: slices.Clone(st.past),
		Bound: st.bound, From: st.from, Sent: st.sent, Want: st.want, Pinged: st.pinged, Need: st.need, Acked: st.acked, Reported: st.reported,
	}
}

func (m *inFlight) export() *FlightState {
	if m.stream == nil {
		return nil
	}
	return &FlightState{m.stream.box.Topic, m.epoch, m.offset, m.cost}
}

// Import continues what Export has ended. The receiver is Open, and has no session. held are
// the frames that Export has returned, in their order. The store is asked where the streams
// are in its present epoch before anything more is written.
func (v *Service) Import(r Receiver, st *State, held []Frame) error {
	if st == nil {
		return nil
	}
	if st.Session == nil {
		sh := v.shard(r.ID())
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if sh.left == nil {
			sh.left = make(map[uint64]left)
		}
		sh.left[r.ID()] = left{st.Epoch, st.Offset, st.From}
		return nil
	}
	if err := st.Session.check(); err != nil {
		return err
	}
	v.use(r, true, func(s *session) {
		s.restore(st.Session)
		for _, f := range held {
			s.held = append(s.held, f)
			s.heldBytes += f.Len() + entryCost
		}
		if len(held) > 0 {
			s.heldSince = v.cfg.Now()
			v.holder(s)
		}
		s.wake()
	})
	return nil
}

// LastPing returns the highest number of a ping, and ContinuePings has the service go on from
// one, so that a late pong never matches another ping.
func (v *Service) LastPing() uint64 { return v.serial.Load() }

// ContinuePings: see LastPing.
func (v *Service) ContinuePings(last uint64) { v.serial.Store(max(v.serial.Load(), last)) }

// Settle returns when no session is between a look at the store's epoch and an
// acknowledgement that it gives to the store for that.
func (v *Service) Settle() {
	for i := range v.shards {
		sh := &v.shards[i]
		sh.mu.Lock()
		all := make([]*session, 0, len(sh.sessions))
		for _, s := range sh.sessions {
			all = append(all, s)
		}
		sh.mu.Unlock()
		for _, s := range all {
			s.locked(func(*session) {})
		}
	}
}

// check returns an error if no Export has returned the state.
func (st *SessionState) check() error {
	all := append([]StreamState{st.Inbox}, st.Topics...)
	for i, t := range all {
		if (i == 0) != (t.Topic == "") || len(t.Past) > mostPast || t.Continued && len(t.Past) == 0 || t.Bound > inherited {
			return fmt.Errorf("replay: inconsistent state of the stream %q", t.Topic)
		}
	}
	if st.Flight < 0 || st.Ping != nil && (st.Ping.Flight < 0 || st.Ping.Flight > st.Flight) {
		return fmt.Errorf("replay: inconsistent state: %d bytes in flight", st.Flight)
	}
	return nil
}

// restore is the reverse of export. The caller holds mu.
func (s *session) restore(st *SessionState) {
	s.inbox.restore(&st.Inbox)
	s.topics = nil
	for i := range st.Topics {
		t := &stream{box: store.Box{Topic: st.Topics[i].Topic}}
		t.restore(&st.Topics[i])
		s.readAs(t.box.Topic, st.Topics[i].Reader)
		s.topics = append(s.topics, t)
	}
	s.used, s.flight, s.noAcks = st.Used, st.Flight, st.NoAcks
	s.holding, s.releasing = st.Holding, st.Releasing
	s.largest, _ = s.inFlight(st.Largest)
	if m, ok := s.inFlight(st.Alone); ok {
		s.alone = &m
	}
	if p := st.Ping; p != nil {
		q := &outstanding{serial: p.Serial, flight: p.Flight, wrong: p.Wrong}
		q.largest, _ = s.inFlight(p.Largest)
		for _, m := range p.Marks {
			if m, ok := s.inFlight(&m); ok {
				q.marks = append(q.marks, mark{m.stream, m.epoch, m.offset})
			}
		}
		s.ping = q
	}
}

// inFlight returns what st describes, unless its stream has ended.
func (s *session) inFlight(st *FlightState) (m inFlight, ok bool) {
	if st == nil {
		return m, false
	}
	b := store.Box{Topic: st.Topic}
	if st.Topic == "" {
		b.User = s.user
	}
	stream := s.stream(b)
	if stream == nil {
		return m, false
	}
	return inFlight{stream, st.Epoch, st.Offset, st.Cost}, true
}

func (st *stream) restore(from *StreamState) {
	*st = stream{
		box: st.box, start: from.Start, since: from.Since, remember: from.Remember, exempt: from.Exempt, full: from.Full,
		placed: from.Placed, begun: from.Begun, hinted: from.Hinted, gap: from.Gap, known: from.Known,
		overQuota: from.OverQuota, pinned: from.Pinned, solo: from.Solo, continued: from.Continued, epoch: from.Epoch, past: from.Past,
		bound: from.Bound, from: from.From, sent: from.Sent, want: from.Want, pinged: from.Pinged, need: from.Need, acked: from.Acked, reported: from.Reported,
	}
	st.check = from.Check || from.Placed
}
