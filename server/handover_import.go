package server

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unique"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
	"fanfare/server/where"
)

// errUnservable: this process has another configuration than the one that had the session.
var errUnservable = errors.New("server: no endpoint of this process can serve the session")

// prepareImport makes a session of a state and a descriptor, which belongs to the session
// afterwards, unless there is an error. Nothing is sent, received or counted before adopt.
func (srv *Server) prepareImport(fd int, st *sessionState) (s *Session, err error) {
	if err := st.check(); err != nil {
		return nil, err
	}
	s = new(Session)
	s.ep.Store(srv.unrouted)
	word := uint32(st.Phase)<<phaseShift | uint32(st.Code)&codeMask
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
func (s *Session) restore(st *sessionState) {
	now := s.srv().tick.Load()
	s.opened = min(st.Opened, now)
	s.heard.Store(min(st.Heard, now))
	s.pinged.Store(min(st.Pinged, now))
	s.setLabels(st.Labels)
	may := share(st.MaySubscribe, st.MayPublish, st.MayRead)
	if may != (unique.Handle[capabilities]{}) || st.MaxMessages != 0 || st.MaxTopics != 0 || st.Expires != 0 || st.Protocol != "" ||
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

// check returns an error if no exportState has returned the state.
func (st *sessionState) check() error {
	opened, p := st.Opened != 0, phase(st.Phase)
	switch {
	case movingPhases[p] == "":
		return fmt.Errorf("server: session in the phase %d", p)
	case opened != (st.Path != ""), !opened && (p == open || st.User != "" || st.TLS != nil || st.Replay != nil || st.Window != 0):
		return errors.New("server: inconsistent state of a session that was not opened")
	case st.Window > 15, st.Replay != nil && (st.User == "" || p != open), st.Request != nil && p > readingRequest:
		return errors.New("server: inconsistent state of a session")
	case st.Proxied && !st.Source.IsValid():
		return errors.New("server: a session behind a proxy has no address")
	case st.Discarded < 0 || st.Discarded > maxDiscarded:
		return fmt.Errorf("server: session with %d discarded bytes", st.Discarded)
	}
	if max(len(st.MaySubscribe), len(st.MayPublish), len(st.MayRead)) > maxCapabilities {
		return fmt.Errorf("server: session with more than %d names of topics in a list", maxCapabilities)
	}
	if _, err := where.MakeLabels(st.Labels); err != nil {
		return fmt.Errorf("server: session with wrong labels: %w", err)
	}
	names := slices.Concat(st.Topics, st.MaySubscribe, st.MayPublish, st.MayRead)
	if st.User != "" {
		names = append(names, st.User)
	}
	for _, name := range names {
		if err := registry.CheckName(name); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	return nil
}

// adopt makes a session that prepareImport has returned one of this process, and serves it.
func (s *Session) adopt(st *sessionState) {
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
}

// adoptIdentity enters the session in the registry, without the limits of the configuration.
func (s *Session) adoptIdentity(st *sessionState) {
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
	}
	if phase(st.Phase) == open {
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
	s.releaseDecoder()
	if x := s.ext.Load(); x != nil {
		srv.appTimers.Stop(x)
		s.dropGathering(x)
	}
	srv.uncount(s)
	if s.opened != 0 {
		if srv.users.Leave(s) {
			srv.releaseUser(s.User())
		}
		srv.sessions.Add(-1)
	}
	s.conn.Abandon()
}

// findEndpoint returns the endpoint at a path, of the public listener or a Mount; nil if
// there is none.
func (srv *Server) findEndpoint(path string) *endpoint {
	if ep := srv.endpoints[path]; ep != nil {
		return ep
	}
	ep, _ := srv.mounts.Load(path)
	found, _ := ep.(*endpoint)
	return found
}

func (ep *endpoint) findDialect(protocol string) (index int, ok bool) {
	for i, d := range ep.Dialects {
		if d.Protocol() == protocol {
			return i, true
		}
	}
	return 0, false
}
