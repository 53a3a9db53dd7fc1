package server

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
)

// handshake is what one opening handshake needs. It is pooled: a session has
// one only while its request is being looked at, or comes in pieces.
type handshake struct {
	gathered []byte // the request, if it did not come in one read
	req      Request
	upgrade  upgrade
}

var handshakes = sync.Pool{New: func() any { return new(handshake) }}

func (h *handshake) free() {
	if cap(h.gathered) > 8<<10 {
		h.gathered = nil
	}
	h.gathered = h.gathered[:0]
	clear(h.req.headers)
	h.req = Request{headers: h.req.headers[:0]}
	h.upgrade.reset()
	handshakes.Put(h)
}

var headEnd = []byte("\r\n\r\n")

// shake takes bytes of the opening handshake and returns what follows it, which
// is for the decoder. Behind it the session is open, or refused, or still shaking
// if the request is not complete.
func (s *Session) shake(b []byte) (rest []byte) {
	h, head, rest := s.gather(b)
	if h == nil {
		return nil
	}
	defer h.free()
	if !s.enter(answering, 0) {
		return nil // its time was over a moment ago
	}
	if err := s.begin(h, head); err != nil {
		if errors.Is(err, errPlain) {
			if f := s.srv().fallback; f.admit() {
				f.serve(s, head, rest)
				return nil
			}
			err = errFallbackFull
		}
		s.refuse(err)
		return nil
	}
	return rest
}

// gather returns the request when all of it is there, and what came behind it. h
// is nil if more of it must come, and if it is refused. What is refused here is
// refused however the bytes are cut: by the first one, or by how many came
// without an end.
func (s *Session) gather(b []byte) (h *handshake, head, rest []byte) {
	most := s.srv().cfg.MaxHeader
	x := s.ext.Load()
	if x == nil {
		if !tokenTable[b[0]] {
			s.refuse(errRequestLine) // TLS for instance, which would never have an end
			return nil, nil, nil
		}
		if n := headLength(nil, b[:min(len(b), most)]); n > 0 {
			return handshakes.Get().(*handshake), b[:n], b[n:]
		}
		if len(b) <= most {
			h = handshakes.Get().(*handshake)
			h.gathered = append(h.gathered, b...)
			s.extend().shake = h
			return nil, nil, nil
		}
		s.refuse(tooLong(most))
		return nil, nil, nil
	}
	h = x.shake
	if n := headLength(h.gathered, b[:min(len(b), most-len(h.gathered))]); n > 0 {
		h.gathered = append(h.gathered, b[:n]...)
		s.ext.Store(nil) // an idle session has none; nobody else knows this one yet
		return h, h.gathered, b[n:]
	}
	if len(h.gathered)+len(b) <= most {
		h.gathered = append(h.gathered, b...)
		return nil, nil, nil
	}
	s.ext.Store(nil)
	h.free()
	s.refuse(tooLong(most))
	return nil, nil, nil
}

// headLength is how many bytes of b belong to the request that began with had, 0
// if its end is not there.
func headLength(had, b []byte) int {
	// The end may lie across the cut.
	var seam [6]byte
	n := copy(seam[:3], had[max(len(had)-3, 0):])
	m := n + copy(seam[n:n+3], b)
	if i := bytes.Index(seam[:m], headEnd); i >= 0 {
		return i + len(headEnd) - n
	}
	if i := bytes.Index(b, headEnd); i >= 0 {
		return i + len(headEnd)
	}
	return 0
}

func tooLong(most int) error {
	return Refuse(431, fmt.Sprintf("the request header is longer than %d bytes", most))
}

// errPlain: the request is ordinary HTTP.
var errPlain = errors.New("no WebSocket handshake")

// begin checks a complete request and opens the session.
func (s *Session) begin(h *handshake, head []byte) error {
	srv := s.srv()
	r := &h.req
	if err := r.parse(head); err != nil {
		return err
	}
	if !r.hasToken("Upgrade", "websocket") {
		return errPlain
	}
	ep := srv.endpoints[string(r.path)]
	if ep == nil {
		return Refuse(404, "no WebSocket endpoint at "+strconv.QuoteToASCII(string(r.path)))
	}
	if srv.status.Load() >= draining {
		return errGoingAway
	}
	if !isHost(r.authority()) { // RFC 9112, 3.2; a missing one is found by admit
		return Refuse(400, "want a Host field with the name of a host")
	}
	r.session = s
	if err := srv.screen(s, r); err != nil {
		return err
	}
	a, err := ep.admit(h, nil)
	if err != nil {
		return err
	}
	return s.open(ep, &a)
}

// admission is the outcome of a handshake that is accepted. The answer is
// borrowed from the handshake.
type admission struct {
	id       Identity
	protocol string
	dialect  int // index in Endpoint.Dialects
	deflate  frame.Params
	answer   []byte
	// resume has the positions that the client names, by topic; that of the inbox
	// under "".
	resume map[string]Position
}

// admit checks the request in h. The session is to be that of preset, unless it
// is nil.
func (ep *endpoint) admit(h *handshake, preset *Identity) (a admission, err error) {
	r := &h.req
	if err := checkUpgrade(r); err != nil {
		return a, err
	}
	if origin, n := r.field("Origin"); n > 1 || n == 1 && !originAllowed(origin, r.authority(), ep.srv.cfg.AllowOrigins) {
		return a, Refuse(403, "pages of this origin may not connect")
	}
	if preset != nil {
		a.id = *preset
	} else if ep.Identify != nil {
		if a.id, err = ep.identify(r); err != nil {
			return a, err
		}
	}
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
	a.answer, err = h.upgrade.answer(r, a.protocol, extension)
	return a, err
}

// open answers the handshake and makes the session known. The answer is corked
// until the session is registered, so that what is pushed meanwhile comes behind
// it, and so that it can be taken back.
func (s *Session) open(ep *endpoint, a *admission) error {
	srv := ep.srv
	s.ep.Store(ep)
	s.conn.Cork()
	if s.conn.WriteBorrowed(a.answer, netpoll.Control) == netpoll.Gone {
		return ErrClosed
	}
	s.state.Or(uint32(a.dialect) << dialectShift)
	if len(a.id.MaySubscribe) > 0 && s.dialect() != Plain {
		s.extend().maySubscribe = a.id.MaySubscribe
	}
	if a.protocol != "" || a.id.Data != nil || !a.id.Expires.IsZero() {
		x := s.extend()
		x.protocol, x.data, x.expires = a.protocol, a.id.Data, srv.tickAt(a.id.Expires)
	}
	if a.deflate != (frame.Params{}) {
		s.compress(a.deflate)
	}
	s.opened = max(srv.tick.Load(), 1)
	srv.sessions.Add(1)
	err := s.list(&a.id)
	replays := err == nil && srv.replay != nil && a.id.User != ""
	if replays {
		s.replayAttach(a)
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
	srv.stats.handshakes.Add(1)
	s.armHeartbeat(ticks(srv.cfg.PingInterval))
	s.conn.Uncork()
	if replays {
		s.replayOpen()
	} else {
		_, resumes := a.resume[""]
		s.dialect().Begin(s, Position{Gap: resumes}) // nothing is stored here
	}
	if hook := s.endpoint().Hooks.OnOpen; hook != nil {
		s.guard(func() { hook(s) })
	}
	return nil
}

// list enters the session in the registry, if it has a user.
func (s *Session) list(id *Identity) error {
	if id.User == "" {
		return nil
	}
	users := s.srv().users
	if users.Join(id.User, s) != nil {
		s.srv().stats.manySessions.Add(1)
		return &Refusal{Status: 429, Text: "this user has too many connections", header: "Retry-After: 30\r\n"}
	}
	s.srv().holdUser(id.User)
	for _, topic := range id.Topics {
		users.Subscribe(s, topic) // was checked; fails only if it is gone already
		s.srv().holdTopic(topic)
	}
	return nil
}

// checkIdentity applies the one rule for names, and the bound on topics.
func (srv *Server) checkIdentity(id *Identity) error {
	if id.User == "" {
		return nil
	}
	if err := registry.CheckName(id.User); err != nil {
		return Refuse(400, "user: "+err.Error())
	}
	if len(id.Topics) > srv.cfg.TopicsPerSession {
		return Refuse(400, "more than "+strconv.Itoa(srv.cfg.TopicsPerSession)+" topics")
	}
	for _, t := range id.Topics {
		if err := registry.CheckName(t); err != nil {
			return Refuse(400, "topic: "+err.Error())
		}
	}
	return nil
}
