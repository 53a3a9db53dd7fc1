package server

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"fanfare/server/internal/handshake"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/trace"
	"fanfare/server/node"
	"fanfare/server/store"
)

// Observer learns of events: package webhook is one. A server without one does nothing for
// events, and an idle session costs nothing with one.
type Observer interface {
	// Wants reports whether events of a kind are to be reported. It is called for each of
	// them, concurrently.
	Wants(EventKind) bool
	// Observe takes an event, which is the Observer's from then on. It is called
	// concurrently, where the event has happened, with locks of the server held: it must
	// not block, and not call the Server. The events UserOnline and UserOffline of one user
	// come in their order, and so do TopicOccupied and TopicVacated of one topic.
	Observe(Event)
}

// EventKind says what an Event reports.
type EventKind uint8

// The kinds, with the fields of Event that they set besides Kind and Time.
const (
	SessionOpened   EventKind = iota // User, Session, Endpoint, Protocol, RemoteAddr, Topics
	SessionClosed                    // User, Session, Endpoint, Opened, Topics, Code, Reason: those of Hooks.OnClose
	SessionSlow                      // User, Session, Endpoint, Queued: the session is closed with 1013
	UserOnline                       // User: the first session on this node
	UserOffline                      // User: the last session on this node has ended
	TopicOccupied                    // Topic: the first subscriber on this node
	TopicVacated                     // Topic: the last subscriber on this node has left
	MessageReceived                  // User, Session, Endpoint, Op, Payload: see Endpoint.ReportMessages
	MessageUnread                    // User, Unread: from an Escalator, not from the server
	eventKinds
)

// The kinds that only package presence wants, which EventKinds does not return: User and Topic,
// of Config.PresenceTopics. They are the first session of the user on this node that subscribes,
// and the last one.
const (
	MemberJoined EventKind = 16 + iota
	MemberLeft
)

var eventNames = [eventKinds]string{"session.opened", "session.closed", "session.slow", "user.online", "user.offline",
	"topic.occupied", "topic.vacated", "message.received", "message.unread"}

// String returns the name of the kind, such as "session.opened".
func (k EventKind) String() string {
	switch k {
	case MemberJoined:
		return "member.joined"
	case MemberLeft:
		return "member.left"
	}
	return eventNames[k]
}

// EventKinds returns all kinds.
func EventKinds() []EventKind {
	all := make([]EventKind, eventKinds)
	for i := range all {
		all[i] = EventKind(i)
	}
	return all
}

// Event is something that has happened to a session, a user or a topic.
type Event struct {
	Kind       EventKind
	Time       time.Time
	User       string // empty: the session has none
	Topic      string
	Session    string   // SessionInfo.ID
	Endpoint   string   // Endpoint.Path
	Protocol   string   // the sub-protocol, if one was chosen
	RemoteAddr string   // empty for a Unix socket
	Topics     []string // sorted; of SessionClosed empty where a newer session of the user has taken the place
	Opened     time.Time
	Code       Code
	Reason     string
	Queued     int // bytes in the outbound queue
	Op         Op
	Payload    []byte
	Unread     *Unread // of MessageUnread
}

// Unread is a message that was not acknowledged in time.
type Unread struct {
	Message string // Entry.ID
	Epoch   string
	Offset  uint64
	Deleted bool // it is not stored any more
}

// presenceLocks is how many locks order the events of users: 20,000 handshakes a second
// hardly ever meet.
const presenceLocks = 64

// events reports events to Config.Observer. A nil *events reports none.
type events struct {
	// Immutable.
	srv  *Server
	to   Observer
	seed maphash.Seed

	// presence[i] is held across a change of the sessions of a user in the registry and the
	// event of it, so that events come in the order of the changes: presence → registry
	// locks, the Observer's.
	presence [presenceLocks]sync.Mutex

	// mu is held across a look at the subscribers of a topic and the event of it: mu →
	// registry locks, the Observer's.
	mu       sync.Mutex
	occupied map[string]struct{} // topics that were reported as occupied; guarded by mu
}

func newEvents(srv *Server, to Observer) *events {
	if to == nil {
		return nil
	}
	return &events{srv: srv, to: to, seed: maphash.MakeSeed(), occupied: make(map[string]struct{})}
}

// wants reports whether an event of a kind is to be reported.
func (ev *events) wants(k EventKind) bool {
	if ev == nil {
		return false
	}
	defer ev.recovered()
	return ev.to.Wants(k)
}

// report reports an event that is wanted.
func (ev *events) report(e Event) {
	defer ev.recovered()
	e.Time = ev.srv.wall()
	ev.to.Observe(e)
}

func (ev *events) recovered() {
	if v := recover(); v != nil {
		ev.srv.panicked("Observer", v)
	}
}

// lockUser locks the presence of a user, and returns the function that unlocks it.
func (ev *events) lockUser(user string) (unlock func()) {
	if ev == nil || user == "" {
		return func() {}
	}
	mu := &ev.presence[maphash.String(ev.seed, user)%presenceLocks]
	mu.Lock()
	return mu.Unlock
}

// present reports whether a user whose presence is locked has a session.
func (ev *events) present(user string) bool {
	return ev != nil && user != "" && ev.srv.users.UserSessions(user) > 0
}

// changed reports that a user, whose presence is locked, has come or gone.
func (ev *events) changed(user string, before bool) {
	if ev == nil {
		return
	}
	switch after := ev.present(user); {
	case after && !before && ev.wants(UserOnline):
		ev.report(Event{Kind: UserOnline, User: user})
	case before && !after && ev.wants(UserOffline):
		ev.report(Event{Kind: UserOffline, User: user})
	}
}

// review reports whether a topic has become occupied or vacated. It is called after each
// change of the topic's subscribers.
func (ev *events) review(topic string) {
	if ev == nil {
		return
	}
	ev.mu.Lock()
	defer ev.mu.Unlock()
	_, before := ev.occupied[topic]
	switch after := ev.srv.users.TopicSessions(topic) > 0; {
	case after && !before:
		ev.occupied[topic] = struct{}{}
		if ev.wants(TopicOccupied) {
			ev.report(Event{Kind: TopicOccupied, Topic: topic})
		}
	case before && !after:
		delete(ev.occupied, topic)
		if ev.wants(TopicVacated) {
			ev.report(Event{Kind: TopicVacated, Topic: topic})
		}
	}
}

// about returns an event of a session.
func (s *Session) about(k EventKind) Event {
	return Event{Kind: k, User: s.User(), Session: s.fullID(), Endpoint: s.endpoint().Path}
}

// sortedTopics returns the topics of a session, sorted.
func (s *Session) sortedTopics() []string {
	all := s.Topics()
	slices.Sort(all)
	return all
}

func (ev *events) opened(s *Session) {
	if !ev.wants(SessionOpened) {
		return
	}
	e := s.about(SessionOpened)
	e.Protocol, e.Topics = s.Protocol(), s.sortedTopics()
	if peer := s.RemoteAddr(); peer.IsValid() {
		e.RemoteAddr = peer.String()
	}
	ev.report(e)
}

// closed is called while the session still has its subscriptions.
func (ev *events) closed(s *Session, why CloseError) {
	if !ev.wants(SessionClosed) {
		return
	}
	e := s.about(SessionClosed)
	e.Opened, e.Topics, e.Code, e.Reason = s.Opened(), s.sortedTopics(), why.Code, why.Reason
	ev.report(e)
}

func (ev *events) slow(s *Session, queued int) {
	if !ev.wants(SessionSlow) {
		return
	}
	e := s.about(SessionSlow)
	e.Queued = queued
	ev.report(e)
}

func (ev *events) received(s *Session, op Op, payload []byte) {
	if !ev.wants(MessageReceived) {
		return
	}
	e := s.about(MessageReceived)
	e.Op, e.Payload = op, slices.Clone(payload)
	ev.report(e)
}

// The rest of this file reports what happens to a session to the traces of its user. Each function costs one
// atomic load while no trace runs.

// traced returns the traces of the session's user.
func (s *Session) traced() []*trace.Log {
	if t := s.srv().traces; t.Running() {
		return t.Of(s.User())
	}
	return nil
}

// traceEvent returns an event of the session.
func (s *Session) traceEvent(kind string) TraceEvent {
	srv := s.srv()
	return TraceEvent{Event: kind, Time: srv.wall().UTC().Round(0), Node: srv.nodeName(), Session: s.fullID()}
}

// traceRejected reports a handshake that was rejected after its user was identified.
func (s *Session) traceRejected(user string, ep *endpoint, r *Request, err error) {
	to := s.srv().traces.Of(user)
	if to == nil || errors.Is(err, ErrClosed) {
		return
	}
	var rejection *Rejection
	if !isRejection(err, &rejection) {
		rejection = handshake.Fault(err)
	}
	e := s.traceEvent(node.TraceRejected)
	e.Session, e.Endpoint, e.Status, e.Reason = "", ep.Path, rejection.Status, rejection.Text
	if addr := r.RemoteAddr(); addr.IsValid() {
		e.RemoteAddr = addr.String()
	}
	trace.Add(to, e)
}

func (s *Session) traceOpened() {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceOpened)
	e.Endpoint, e.Dialect, e.Topics = s.endpoint().Path, s.dialectName(), s.Topics()
	slices.Sort(e.Topics)
	if addr := s.RemoteAddr(); addr.IsValid() {
		e.RemoteAddr = addr.String()
	}
	trace.Add(to, e)
}

func (s *Session) traceClosed(why CloseError) {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceClosed)
	e.Code, e.Reason, e.By = why.Code, why.Reason, "server"
	switch {
	case s.state.Load()&clientCodeBit != 0:
		e.By = "client"
	case why.Code == StatusAbnormalClosure:
		e.By = "network"
	}
	trace.Add(to, e)
}

// traceDelivered reports a message that was written or queued.
func (s *Session) traceDelivered(c Content) {
	to := s.traced()
	if to == nil {
		return
	}
	e := s.traceEvent(node.TraceDelivered)
	e.Bytes, e.Queued, e.Topic, e.Epoch, e.Offset = len(c.Payload), s.Queued(), c.Topic, c.Epoch, c.Offset
	trace.AddMessage(to, e, c.Payload, c.Op == Text)
}

// traceStored is replay.Config.Delivered.
func (srv *Server) traceStored(r replay.Receiver, m *replay.Message) {
	if !srv.traces.Running() {
		return
	}
	c := Content{Topic: m.Box.Topic, Epoch: m.Epoch, Offset: m.Offset, Op: Text}
	if shared, ok := m.Shared.(*Message); ok {
		c.Op, c.Payload = shared.Op(), shared.Payload()
	} else if c.Payload = m.Stored.Payload; m.Stored.Binary {
		c.Op = Binary
	}
	r.(receiver).s.traceDelivered(c)
}

// traceAcknowledged is replay.Config.Acknowledged.
func (srv *Server) traceAcknowledged(r replay.Receiver, b store.Box, epoch string, offset uint64) {
	if !srv.traces.Running() {
		return
	}
	s := r.(receiver).s
	if to := s.traced(); to != nil {
		e := s.traceEvent(node.TraceAcknowledged)
		e.Topic, e.Epoch, e.Offset = b.Topic, epoch, offset
		trace.Add(to, e)
	}
}

// traceDropped reports that messages were dropped.
func (s *Session) traceDropped(reason string) {
	if to := s.traced(); to != nil {
		e := s.traceEvent(node.TraceDropped)
		e.Queued, e.Reason = s.Queued(), reason
		trace.Add(to, e)
	}
}

func (s *Session) traceTopic(topic string, subscribed bool) {
	to := s.traced()
	if to == nil || s.phase() != open { // the end of a session ends its subscriptions
		return
	}
	kind := node.TraceSubscribed
	if !subscribed {
		kind = node.TraceUnsubscribed
	}
	e := s.traceEvent(kind)
	e.Topic = topic
	trace.Add(to, e)
}

func (s *Session) traceTimeout() {
	if to := s.traced(); to != nil {
		trace.Add(to, s.traceEvent(node.TracePingTimeout))
	}
}
