package server

import (
	"errors"
	"fmt"
	"math"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/identity"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/replay"
	"fanfare/server/node"
)

// movingPhases are the phases in which a session may move, and phases is the reverse.
var (
	movingPhases = [ended + 1]handover.Phase{
		readingProxyHeader: handover.ReadingProxyHeader, readingRequest: handover.ReadingRequest,
		open: handover.Open, closing: handover.Closing, lingering: handover.Lingering,
	}
	phases = [...]phase{
		handover.ReadingProxyHeader: readingProxyHeader, handover.ReadingRequest: readingRequest,
		handover.Open: open, handover.Closing: closing, handover.Lingering: lingering,
	}
)

// mover is a session as the process sees it that gives it away.
type mover struct{ s *Session }

func (m mover) ID() uint64                      { return m.s.ID() }
func (m mover) WasOpened() bool                 { return m.s.phase() >= open }
func (m mover) Duplicate() (fd int, err error)  { return m.s.conn.Duplicate() }
func (m mover) Export() (*handover.State, bool) { return m.s.export() }
func (m mover) Thaw()                           { m.s.conn.Thaw() }
func (m mover) TakeBack(st *handover.State)     { m.s.takeBack(st) }
func (m mover) Abandon()                        { m.s.abandon() }

// arrival is a session as the process sees it that takes it over.
type arrival struct {
	s  *Session
	st *handover.State
}

func (a arrival) Adopt() { a.s.adopt(a.st) }

func (a arrival) Discard() {
	a.s.conn.Discard()
	a.s.dec.Release()
}

// movable reports whether another process can go on with the session, as far as that is
// known without its read turn.
func (s *Session) movable() bool {
	switch p := s.phase(); {
	case p == deciding || p == identifying || p == admitting || p == ended:
		return false
	case s.conn.NetConn() != nil:
		return false
	}
	return s.state.Load()&identifierBit == 0 && !s.hasUpstream()
}

// export returns the state of a session whose connection is frozen. It returns false, and has
// changed nothing, if no other process can go on with it. takeBack is the reverse.
func (s *Session) export() (st *handover.State, ok bool) {
	state := s.state.Load()
	if !s.movable() {
		return nil, false
	}
	x := s.ext.Load()
	// What a TLS handshake has told is needed until the session is open, and is not plain data.
	l := s.layer()
	if l != nil && (!l.Exportable() || phaseOf(state) < open) {
		return nil, false
	}
	if x != nil && x.adopted != nil {
		return nil, false
	}
	if st, ok = s.outline(state); !ok || s.opened != 0 && !s.exportData(st) {
		return nil, false
	}
	if x != nil {
		st.Discarded = x.discarded
		if x.meter != (limit.Meter{}) {
			meter := x.meter.Export()
			st.Meter = &meter
		}
		if g := x.gathering; g != nil {
			st.Request = &handover.Request{Proxy: g.proxy, Head: g.head.Bytes(), Arrived: g.arrived}
		}
	}
	st.Decoder = s.dec.Export()
	if s.srv().replay != nil && phaseOf(state) == open {
		s.exportReplay(st)
	}
	if o := s.flushRated(); o == netpoll.Full {
		s.outcome(o)
	}
	// A message may have come, and wait, before Export.
	if st.Conn, ok = s.conn.Export(); !ok || !sameEnd(state, s.state.Load()) || s.srv().rated.Waits(s) {
		s.takeBack(st)
		return nil, false
	}
	if l != nil {
		// From Export on nothing is sealed: a number that was used twice would betray the key.
		st.TLS = l.Export()
	}
	return st, true
}

// outline returns what a state has of the session itself. It returns false if no other process
// can find its endpoint. The caller has the read turn.
func (s *Session) outline(state uint32) (st *handover.State, ok bool) {
	st = &handover.State{
		Phase: movingPhases[phaseOf(state)], Code: Code(state & codeMask),
		Opened: s.opened, Heard: s.heard.Load(), Pinged: s.pinged.Load(),
		Proxied: state&proxiedBit != 0, ClientCode: state&clientCodeBit != 0, Window: uint8(state >> windowShift & windowMask),
	}
	if s.source != nil {
		st.Source = s.source.Addr()
	}
	if s.opened != 0 {
		ep := s.endpoint()
		if ep.srv.findEndpoint(ep.Path) != ep {
			return nil, false
		}
		st.Path, st.Protocol = ep.Path, s.dialect().Protocol()
		st.User, st.Topics = s.User(), s.Topics()
	}
	x := s.ext.Load()
	if x == nil {
		return st, true
	}
	if c, ok := s.capabilities(); ok {
		st.MaySubscribe, st.MayPublish, st.MayRead = c.Subscribe.Names(), c.Publish.Names(), c.Presence.Names()
	}
	st.Labels = s.Labels()
	st.MaxMessages, st.MaxTopics = x.maxMessages.Load(), x.maxTopics.Load()
	st.Expires, st.Credential = x.expires.Load(), x.credential.Load()
	x.mu.Lock()
	st.Reason = x.reason
	if x.client.valid {
		st.Client = x.client.addrPort()
	}
	x.mu.Unlock()
	return st, true
}

// sameEnd reports whether a session has not begun to close between two looks at its state.
func sameEnd(a, b uint32) bool {
	const mask = phaseMask<<phaseShift | codeMask
	return a&mask == b&mask
}

// exportData asks the application for what it knows of the session.
func (s *Session) exportData(st *handover.State) (ok bool) {
	hook := s.endpoint().Hooks.OnHandOver
	if hook == nil {
		return s.Data() == nil
	}
	defer s.logPanic("Hooks.OnHandOver")
	var err error
	st.Data, err = hook(s)
	return err == nil
}

func (s *Session) exportReplay(st *handover.State) {
	var held []replay.Frame
	st.Replay, held = s.srv().replay.Export(receiver{s})
	for _, f := range held {
		live := f.(*liveFrame)
		st.Held = append(st.Held, handover.HeldMessage{Op: live.m.Op(), Payload: live.m.Payload(), Policy: live.policy, Conflate: live.m.conflate(), Interval: node.Interval(live.m.interval()), Receipt: live.m.Receipt()})
	}
}

// takeBack returns a session whose state was exported to the service of this process.
func (s *Session) takeBack(st *handover.State) {
	s.importReplay(st)
	s.conn.Thaw()
	if s.phase() > open && st.Phase <= handover.Open {
		// It was closed meanwhile, and the close frame could not be sent.
		s.conn.Close()
	}
	s.armAgain()
}

func (s *Session) importReplay(st *handover.State) {
	r := s.srv().replay
	if r == nil {
		s.state.And(^uint32(holdBit))
		return
	}
	var held []replay.Frame
	for _, m := range st.Held {
		held = append(held, &liveFrame{newMessageWith(m.Op, m.Payload, m.Conflate, time.Duration(m.Interval), m.Receipt), m.Policy})
	}
	if err := r.Import(receiver{s}, st.Replay, held); err != nil {
		s.srv().log.Error("state of stored messages is inconsistent", "err", err, "user", s.User())
		s.end(frame.StatusServiceRestart, "service restart", false)
	}
}

// errUnservable: this process has another configuration than the one that had the session.
var errUnservable = errors.New("server: no endpoint of this process can serve the session")

// prepareImport makes a session of a state and a descriptor, which belongs to the session
// afterwards, unless there is an error. Nothing is sent, received or counted before adopt.
func (srv *Server) prepareImport(fd int, st *handover.State) (s *Session, err error) {
	if err := st.Check(handover.Bounds{Names: identity.MaxNames, Discarded: maxDiscarded}); err != nil {
		return nil, err
	}
	s = new(Session)
	s.ep.Store(srv.unrouted)
	word := uint32(phases[st.Phase])<<phaseShift | uint32(st.Code)&codeMask
	if st.Opened != 0 {
		ep := srv.findEndpoint(st.Path)
		if ep == nil {
			return nil, fmt.Errorf("%w: it has no endpoint at %q", errUnservable, st.Path)
		}
		dialect, ok := ep.findDialect(st.Protocol)
		if !ok {
			return nil, fmt.Errorf("%w: the one at %s does not speak %q", errUnservable, st.Path, st.Protocol)
		}
		if st.Replay != nil && srv.replay == nil {
			return nil, fmt.Errorf("%w: this process has no store", errUnservable)
		}
		s.ep.Store(ep)
		word |= uint32(dialect)<<dialectShift | uint32(st.Window)<<windowShift
	}
	if st.Proxied {
		word |= proxiedBit
	}
	if st.ClientCode {
		word |= clientCodeBit
	}
	if st.Replay != nil && st.Replay.Session != nil && st.Replay.Session.Holding {
		word |= holdBit
	}
	s.state.Store(word)
	if err := s.dec.Import(&s.endpoint().Rules, st.Decoder); err != nil {
		return nil, err
	}
	var layer netpoll.Layer
	switch {
	case st.TLS != nil && srv.tls == nil:
		s.dec.Release()
		return nil, fmt.Errorf("%w: this process has no TLS", errUnservable)
	case st.TLS != nil:
		if layer, err = srv.tls.Import(st.TLS); err != nil {
			s.dec.Release()
			return nil, err
		}
	}
	s.restore(st)
	if err := srv.engine.Import(fd, &s.conn, handler{s}, layer, &st.Conn); err != nil {
		s.dec.Release()
		if layer != nil {
			layer.Release()
		}
		return nil, err
	}
	return s, nil
}

// restore sets the fields that need no check.
func (s *Session) restore(st *handover.State) {
	now := s.srv().tick.Load()
	s.opened = min(st.Opened, now)
	s.heard.Store(min(st.Heard, now))
	s.pinged.Store(min(st.Pinged, now))
	s.setLabels(st.Labels)
	may := identity.Share(st.MaySubscribe, st.MayPublish, st.MayRead)
	if may != identity.None || st.MaxMessages != 0 || st.MaxTopics != 0 || st.Expires != 0 || st.Protocol != "" ||
		st.Reason != "" || st.Client.IsValid() || st.Discarded != 0 || st.Meter != nil || st.Request != nil || st.Credential != nil {
		x := s.extend()
		x.may, x.protocol, x.reason, x.discarded = may, st.Protocol, st.Reason, st.Discarded
		x.maxMessages.Store(st.MaxMessages)
		x.maxTopics.Store(st.MaxTopics)
		x.expires.Store(st.Expires)
		x.credential.Store(st.Credential)
		if st.Meter != nil {
			x.meter.Import(st.Meter)
		}
		if st.Client.IsValid() {
			x.client = clientAddr{st.Client.Addr().As16(), st.Client.Port(), true}
		}
		if st.Request != nil {
			x.gathering = &gathering{proxy: st.Request.Proxy, head: handshake.NewHead(st.Request.Head), arrived: min(st.Request.Arrived, now)}
		}
	}
}

// adopt makes a session that prepareImport has returned one of this process, and serves it.
func (s *Session) adopt(st *handover.State) {
	srv := s.srv()
	srv.connections.Add(1)
	s.source, _ = srv.sources.Enter(st.Source, math.MaxInt)
	if held := s.dec.Pending(); held > 0 {
		srv.memory.Hold(0, held, limit.ForMessage())
	}
	if x := s.ext.Load(); x != nil && x.gathering != nil {
		srv.memory.Hold(0, x.gathering.held(), limit.ForRequest())
	}
	if st.Opened != 0 {
		srv.sessions.Add(1)
		s.adoptIdentity(st)
		if hook := s.endpoint().Hooks.OnTakeOver; hook != nil {
			s.guard(func() { hook(s, st.Data) })
		}
	}
	s.armAgain()
	s.conn.Start(st.Conn.Unread)
	s.closeIfRevoked() // its identity may have been revoked while it moved
	s.touch()
}

// adoptIdentity enters the session in the registry, without the limits of the configuration.
func (s *Session) adoptIdentity(st *handover.State) {
	srv := s.srv()
	if st.User == "" {
		return
	}
	if err := srv.users.Join(st.User, s); err != nil {
		srv.log.Error("session cannot be listed", "err", err, "user", st.User)
		return
	}
	srv.holdUser(st.User)
	for _, topic := range st.Topics {
		if _, err := srv.users.Subscribe(s, topic); err != nil {
			srv.log.Error("subscription cannot be continued", "err", err, "user", st.User, "topic", topic)
		}
		srv.holdTopic(topic)
		srv.members.Review(topic, st.User, true)
	}
	if st.Phase == handover.Open {
		s.importReplay(st)
	}
}

// armAgain arms the timer of a session that has just arrived, or is back.
func (s *Session) armAgain() {
	srv := s.srv()
	cfg, now := srv.live(), srv.tick.Load()
	switch s.phase() {
	case readingProxyHeader, readingRequest:
		arrived := s.heard.Load()
		if x := s.ext.Load(); x != nil && x.gathering != nil {
			arrived = x.gathering.arrived
		}
		left := int64(arrived) + int64(ticks(cfg.HandshakeTimeout)) - int64(now)
		s.arm(max(tick, time.Duration(left)*tick))
	case open:
		interval, silent := ticks(cfg.PingInterval), now-min(s.heard.Load(), now)
		next := uint32(1)
		if s.pinged.Load() <= s.heard.Load() && silent < interval {
			next = interval - silent
		}
		s.armHeartbeat(next)
	case closing, lingering:
		s.arm(cfg.CloseTimeout)
	}
}

// abandon ends a session that another process has taken over. Hooks.OnClose is not called.
func (s *Session) abandon() {
	srv := s.srv()
	s.cancelContext()
	s.enter(ended, 0)
	srv.wheel.Stop(s)
	srv.rated.Drop(s)
	s.releaseDecoder()
	if x := s.ext.Load(); x != nil {
		srv.appTimers.Stop(x)
		s.dropGathering(x)
	}
	srv.uncount(s)
	if s.opened != 0 {
		srv.keeping.forget(s)
		if srv.users.Leave(s) {
			srv.releaseUser(s.User())
		}
		srv.sessions.Add(-1)
	}
	s.conn.Abandon()
}
