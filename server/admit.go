package server

import (
	"net/http"
	"net/netip"
	"strconv"

	"fanfare/frame"
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

// check tells whether the request is a valid handshake that a browser may make.
func (ep *endpoint) check(r *Request) error {
	if err := handshake.Check(&r.head); err != nil {
		return err
	}
	hosts := make([][]byte, 0, 4)
	hosts = append(hosts, r.head.Authority())
	if r.proxied { // a page cannot set this field
		for host := range r.head.List("X-Forwarded-Host") {
			hosts = append(hosts, host)
		}
	}
	return handshake.Origins(ep.srv.cfg.AllowOrigins).Check(&r.head, hosts...)
}

// admit decides about a request that was checked, and whose client is id.
func (ep *endpoint) admit(h *shaken, id Identity) (a admission, err error) {
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
	var extension string
	if a.deflate, extension, err = ep.negotiate(r); err != nil {
		return a, err
	}
	h.answer = handshake.AppendResponse(h.answer[:0], &r.head, a.protocol, extension)
	a.answer = h.answer
	return a, nil
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

// list enters the session in the registry, if it has a user.
func (s *Session) list(id *Identity) error {
	if id.User == "" {
		return nil
	}
	srv := s.srv()
	if srv.users.Join(id.User, s) != nil && !srv.makeRoom(id.User, s) {
		srv.stats.manySessions.Add(1)
		return errUserFull
	}
	srv.holdUser(id.User)
	for _, topic := range id.Topics {
		srv.users.Subscribe(s, topic) // was checked; fails only if it is gone already
		srv.holdTopic(topic)
	}
	return nil
}

// checkIdentity applies the one rule for names, and the bound on topics.
func (srv *Server) checkIdentity(id *Identity) error {
	if id.User == "" {
		return nil
	}
	if err := registry.CheckName(id.User); err != nil {
		return Reject(http.StatusBadRequest, "user: "+err.Error())
	}
	if len(id.Topics) > srv.cfg.TopicsPerSession {
		return Reject(http.StatusBadRequest, "more than "+strconv.Itoa(srv.cfg.TopicsPerSession)+" topics")
	}
	for _, t := range id.Topics {
		if err := registry.CheckName(t); err != nil {
			return Reject(http.StatusBadRequest, "topic: "+err.Error())
		}
	}
	return nil
}
