package server

import (
	"net/http"
	"net/netip"
	"strconv"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/handshake"
)

// admission is the outcome of a handshake that is accepted.
type admission struct {
	id       Identity
	protocol string
	dialect  int // index in Endpoint.Dialects
	deflate  frame.Params
	answer   []byte         // borrowed from the handshake
	client   netip.AddrPort // if it is not the connection's peer
	// resume has the positions that the client names, by topic; that of the inbox
	// under "".
	resume map[string]Position
}

// check returns an error unless the request is a valid handshake from an allowed origin.
func (ep *endpoint) check(r *Request) error {
	if err := handshake.Check(&r.head); err != nil {
		return err
	}
	hosts := make([][]byte, 0, 4)
	hosts = append(hosts, r.head.Authority())
	if r.proxied {
		hosts = ep.srv.appendForwardedHosts(hosts, r)
	}
	return handshake.Origins(ep.srv.live().AllowOrigins).Check(&r.head, ep.srv.cfg.FieldName, hosts...)
}

// admit decides on a request that was checked and whose client was identified.
func (ep *endpoint) admit(h *handshakeBuffer, id Identity) (a admission, err error) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Dialect.Resume or Protocol", v, "endpoint", ep.Path)
			err = errInternal
		}
	}()
	r := &h.req
	a.id, a.client = id, r.client
	if err := ep.srv.checkIdentity(&a.id); err != nil {
		return a, err
	}
	if a.dialect, err = ep.chooseDialect(r); err != nil {
		return a, err
	}
	d := ep.Dialects[a.dialect]
	a.protocol = d.Protocol()
	if a.resume, err = d.Resume(r, a.id.Topics); err != nil {
		return a, err
	}
	if err := ep.checkQuery(r, d); err != nil {
		return a, err
	}
	var extension string
	if a.deflate, extension, err = ep.negotiate(r); err != nil {
		return a, err
	}
	h.answer = handshake.AppendResponse(h.answer[:0], &r.head, a.protocol, extension)
	a.answer = h.answer
	return a, nil
}

// negotiate answers a client's offer of permessage-deflate, RFC 7692 section 7.
func (ep *endpoint) negotiate(r *Request) (p frame.Params, extension string, err error) {
	var offers [][]byte
	for _, f := range r.head.Fields {
		if handshake.EqualFold(f.Name, "Sec-WebSocket-Extensions") {
			offers = append(offers, f.Value)
		}
	}
	if p, extension, err = ep.Rules.Negotiate(offers...); err != nil {
		return p, "", Reject(http.StatusBadRequest, "malformed Sec-WebSocket-Extensions") // RFC 6455, 9.1
	}
	if !ep.Compress {
		return frame.Params{}, "", nil
	}
	return p, extension, nil
}

// chooseDialect takes the dialect of the first sub-protocol that the client offers and
// the endpoint has. Without a match it is the dialect that has no sub-protocol.
func (ep *endpoint) chooseDialect(r *Request) (index int, err error) {
	spoken := make([]string, 0, dialectMask+1)
	for _, d := range ep.Dialects {
		spoken = append(spoken, d.Protocol())
	}
	protocol := handshake.ChooseProtocol(&r.head, spoken) // offers are tokens, which are not empty
	for i, p := range spoken {
		if p == protocol {
			return i, nil
		}
	}
	return 0, Reject(http.StatusBadRequest, "this endpoint needs a sub-protocol that the client does not offer")
}

// register enters the session in the registry, if it has a user.
func (s *Session) register(id *Identity) error {
	if id.User == "" {
		return nil
	}
	srv := s.srv()
	if srv.users.Join(id.User, s) != nil {
		if err := srv.makeRoom(id.User, s); err != nil {
			srv.stats.manySessions.Add(1)
			return err
		}
	}
	srv.holdUser(id.User)
	for _, topic := range id.Topics {
		srv.users.Subscribe(s, topic) // was checked; fails only if the session has ended
		srv.holdTopic(topic)
	}
	return nil
}

// checkIdentity checks the names of an identity, and the number of its topics.
func (srv *Server) checkIdentity(id *Identity) error {
	if err := id.checkCapabilities(); err != nil {
		return err
	}
	if id.User == "" {
		return nil
	}
	if err := registry.CheckName(id.User); err != nil {
		return Reject(http.StatusBadRequest, "user: "+err.Error())
	}
	most := srv.live().TopicsPerSession
	if id.Limits.Topics > 0 {
		most = min(most, id.Limits.Topics)
	}
	if len(id.Topics) > most {
		return Reject(http.StatusBadRequest, "more than "+strconv.Itoa(most)+" topics")
	}
	for _, t := range id.Topics {
		if err := registry.CheckName(t); err != nil {
			return Reject(http.StatusBadRequest, "topic: "+err.Error())
		}
	}
	return nil
}

// open answers the handshake and registers the session. The answer is corked until the
// session is open, so that messages that are pushed meanwhile follow it, and so that it
// can be replaced by a rejection.
func (s *Session) open(ep *endpoint, a *admission) error {
	srv := s.srv()
	s.ep.Store(ep)
	s.conn.Cork()
	if s.conn.WriteBorrowed(a.answer, netpoll.Control) == netpoll.Gone {
		return ErrClosed
	}
	s.state.Or(uint32(a.dialect) << dialectShift)
	s.grant(&a.id)
	s.setLabels(a.id.Labels)
	if a.protocol != "" || a.id.Data != nil || !a.id.Expires.IsZero() {
		x := s.extend()
		x.protocol, x.data = a.protocol, a.id.Data
		x.expires.Store(srv.tickAt(a.id.Expires))
	}
	s.keepClient(a.client)
	if a.deflate != (frame.Params{}) {
		s.compress(a.deflate)
	}
	s.opened = max(srv.tick.Load(), 1)
	srv.sessions.Add(1)
	err := s.register(&a.id)
	replays := err == nil && srv.replay != nil && a.id.User != ""
	if replays {
		s.replayAttach(a)
	}
	if err == nil && !replays {
		// Begin comes before the session is open, so that no push precedes it. Without a
		// store a client that resumes has missed messages.
		_, resumes := a.resume[""]
		s.callBegin(Position{Gap: resumes})
	}
	if err == nil && !s.enter(open, 0) {
		if srv.users.Leave(s) {
			srv.releaseUser(a.id.User)
		}
		err = ErrClosed
	}
	if err != nil {
		if replays {
			s.replayDetach()
		}
		s.opened = 0
		srv.sessions.Add(-1)
		return err
	}
	s.forgetTLS()
	srv.stats.handshakes.Add(1)
	s.armHeartbeat(ticks(srv.live().PingInterval))
	s.conn.Uncork()
	if replays {
		srv.replay.Open(receiver{s})
	}
	if hook := s.endpoint().Hooks.OnOpen; hook != nil {
		s.guard(func() { hook(s) })
	}
	return nil
}
