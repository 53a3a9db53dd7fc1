package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/identity"
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
	// rewind has the number of stored messages that the client wants first, by topic.
	rewind map[string]int
}

// check returns an error unless the request is a valid handshake from an allowed origin.
func (ep *endpoint) check(r *Request) error {
	check := ep.checkStream
	if !ep.streams() {
		check = func(r *Request) error { return handshake.Check(&r.head) }
	}
	if err := check(r); err != nil {
		return err
	}
	return ep.checkOrigin(ep.allowedOrigins(), r)
}

// allowedOrigins returns the origins of pages that may connect.
func (ep *endpoint) allowedOrigins() []string {
	if ep.AllowOrigins != nil {
		return ep.AllowOrigins
	}
	return ep.srv.live().AllowOrigins
}

// checkOrigin returns an error if a page may not make the request.
func (ep *endpoint) checkOrigin(allowed []string, r *Request) error {
	return handshake.Origins(allowed).Check(&r.head, ep.srv.cfg.FieldName, ep.appendHosts(make([][]byte, 0, 4), r)...)
}

// appendHosts appends what the request's host is called.
func (ep *endpoint) appendHosts(hosts [][]byte, r *Request) [][]byte {
	hosts = append(hosts, r.head.Authority())
	if r.proxied {
		hosts = ep.srv.appendForwardedHosts(hosts, r)
	}
	return hosts
}

// admit decides on a request that was checked and whose client was identified.
func (ep *endpoint) admit(h *handshakeBuffer, id Identity) (a admission, err error) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Dialect.Resume or Protocol", v, "endpoint", ep.Path)
			err = handshake.ErrInternal
		}
	}()
	r := &h.req
	a.id, a.client = id, r.client
	if err := ep.srv.checkIdentity(&a.id); err != nil {
		return a, err
	}
	if err := ep.srv.checkRevoked(&a.id); err != nil {
		return a, err
	}
	if a.dialect, err = ep.chooseDialect(r); err != nil {
		return a, err
	}
	d := ep.Dialects[a.dialect]
	if a.resume, err = d.Resume(r, a.id.User, a.id.Topics); err != nil {
		return a, err
	}
	if a.rewind, err = handshake.Rewinds(&r.head, &r.query, a.id.Topics, MaxRewind, ep.allowsQuery, ep.srv.Durable); err != nil {
		return a, err
	}
	if err := r.query.Check(&r.head, ep.allowsQuery, d.Protocol()); err != nil {
		return a, err
	}
	if ep.streams() {
		h.answer = ep.answerStream(h.answer[:0], r, d.(Stream))
		a.answer = h.answer
		return a, nil
	}
	a.protocol = d.Protocol()
	var extension string
	if a.deflate, extension, err = ep.negotiate(r); err != nil {
		return a, err
	}
	if a.protocol == "" {
		ep.noteUnspoken(r)
	}
	h.answer = handshake.AppendResponse(h.answer[:0], &r.head, a.protocol, extension)
	a.answer = h.answer
	return a, nil
}

// allowsQuery reports whether the query may have a parameter that nothing reads.
func (ep *endpoint) allowsQuery(name string) bool { return Covers(ep.AllowQuery, name) }

// noteUnspoken notes a handshake that offers sub-protocols, none of which the endpoint has. It
// is accepted without one: RFC 6455 section 4.2.2 item 5.
func (ep *endpoint) noteUnspoken(r *Request) {
	offered, n := r.head.Field("Sec-WebSocket-Protocol")
	if n == 0 || len(offered) == 0 {
		return
	}
	origin, _ := r.head.Field("Origin")
	ep.srv.stats.Unspoken.Add(1)
	ep.srv.rejectLog.Unspoken(offered, r.RemoteAddr().Addr(), origin)
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
	if ep.streams() {
		return ep.chooseStream(r)
	}
	spoken := make([]string, 0, dialectMask+1)
	for _, d := range ep.Dialects {
		spoken = append(spoken, d.Protocol())
	}
	protocol := handshake.ChooseProtocol(&r.head, spoken) // offers are tokens, which are not empty
	if i := slices.Index(spoken, protocol); i >= 0 {
		return i, nil
	}
	return 0, Reject(http.StatusBadRequest, "this endpoint needs a sub-protocol that the client does not offer")
}

// register enters the session in the registry, if it has a user.
func (s *Session) register(id *Identity) error {
	if id.User == "" {
		return nil
	}
	srv := s.srv()
	if err := srv.join(id.User, s); err != nil {
		srv.stats.ManySessions.Add(1)
		return err
	}
	srv.holdUser(id.User)
	for _, topic := range id.Topics {
		srv.users.Subscribe(s, topic) // was checked; fails only if the session has ended
		srv.holdTopic(topic)
		srv.reviewTopic(topic, id.User)
	}
	return nil
}

// join enters the session in the registry, and closes those whose places it takes.
func (srv *Server) join(user string, s *Session) error {
	unlock := srv.events.lockUser(user)
	before := srv.events.present(user)
	var replaced []departure
	var topics []string
	err := srv.users.Join(user, s)
	if err != nil {
		replaced, topics, err = srv.makeRoom(user, s)
	}
	srv.events.changed(user, before)
	unlock()
	for _, other := range replaced {
		for _, topic := range other.topics {
			other.session.topicChanged(topic, false)
		}
		other.session.end(frame.StatusPolicyViolation, "replaced by a newer session of the user", true)
	}
	for _, topic := range topics {
		srv.reviewTopic(topic, user)
	}
	if err != nil {
		return srv.userFull(user)
	}
	return nil
}

// leave removes the session from the registry, unless makeRoom has done so. It returns the
// topics that the session had if something is to learn of them.
func (srv *Server) leave(s *Session) (topics []string) {
	user := s.User()
	unlock := srv.events.lockUser(user)
	before := srv.events.present(user)
	topics = srv.leaveLocked(s)
	srv.events.changed(user, before)
	unlock()
	for _, topic := range topics {
		srv.reviewTopic(topic, user)
	}
	return topics
}

// leaveLocked is leave with the user's presence locked, if there are events: then, and if
// there is a hook for them, it returns the session's topics.
func (srv *Server) leaveLocked(s *Session) (topics []string) {
	left := false
	if srv.events == nil && srv.members == nil && s.endpoint().Hooks.OnTopic == nil {
		left = srv.users.Leave(s)
	} else {
		topics, left = srv.users.LeaveTopics(s)
	}
	if left {
		srv.releaseUser(s.User())
	}
	return topics
}

// checkIdentity checks the names of an identity, and the number of its topics.
func (srv *Server) checkIdentity(id *Identity) error {
	if err := identity.Check(id); err != nil {
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

// admitAs opens the session of a client that was identified, or returns why it is rejected.
func (s *Session) admitAs(ep *endpoint, h *handshakeBuffer, id Identity) error {
	a, err := ep.admit(h, id)
	if err == nil {
		err = s.open(ep, &a)
	}
	if err != nil {
		s.traceRejected(id.User, ep, &h.req, err)
	}
	return err
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
	s.prepareTicket(&a.id)
	s.grant(&a.id)
	s.setLabels(a.id.Labels)
	if a.protocol != "" || a.id.Data != nil || !a.id.Expires.IsZero() {
		x := s.extend()
		x.protocol, x.data = a.protocol, a.id.Data
		x.expires.Store(srv.tickAt(a.id.Expires))
	}
	s.keepClient(a.client)
	s.keepCredential(&a.id)
	if a.deflate != (frame.Params{}) {
		s.compress(a.deflate)
	}
	s.opened = max(srv.tick.Load(), 1)
	srv.sessions.Add(1)
	err := s.register(&a.id)
	replays := err == nil && srv.replay != nil && a.id.User != ""
	if err == nil {
		s.beginUnstored(a, replays)
	}
	if replays {
		s.replayAttach(a)
	}
	if err == nil {
		s.greet()
	}
	if err == nil && !s.enter(open, 0) {
		srv.leave(s)
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
	if ep.streams() {
		s.conn.LimitUnacknowledged(srv.live().PingTimeout)
	}
	srv.stats.Handshakes.Add(1)
	s.traceOpened()
	s.armHeartbeat(ticks(srv.live().PingInterval))
	s.conn.Uncork()
	s.closeIfRevoked() // its identity may have been revoked since it was checked
	if replays {
		srv.replay.Open(receiver{s})
	}
	srv.events.opened(s)
	if hook := s.endpoint().Hooks.OnOpen; hook != nil {
		s.guard(func() { hook(s) })
	}
	s.touch()
	return nil
}
