package server

import (
	"errors"
	"net/http"
	"slices"
	"sync"

	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// handshakeBuffer is the memory for checking one opening handshake. It is pooled: a
// session needs it for a moment only.
type handshakeBuffer struct {
	req    Request
	answer []byte
}

var handshakeBuffers = sync.Pool{New: func() any { return new(handshakeBuffer) }}

func (h *handshakeBuffer) free() {
	h.req.reset()
	h.answer = h.answer[:0]
	handshakeBuffers.Put(h)
}

// gathering is a request that comes in pieces; owned by the read turn.
type gathering struct {
	proxy   []byte // a part of the PROXY protocol header
	head    handshake.Head
	arrived uint32 // tick at which the connection was accepted
}

// held returns the memory that it takes, in bytes.
func (g *gathering) held() int { return cap(g.proxy) + g.head.Held() }

// readRequest takes bytes of the opening handshake, and returns the bytes that follow it,
// for the decoder. Afterwards the session is open, or rejected, or an Identifier has it, or
// the request is incomplete. accepted is the tick at which the connection was accepted, or
// a later one if the request comes in pieces.
func (s *Session) readRequest(b []byte, accepted uint32) (rest []byte) {
	srv := s.srv()
	first := gathering{arrived: accepted}
	g := &first
	if err := s.checkPlain(b); err != nil {
		s.reject(err, nil)
		return nil
	}
	x := s.ext.Load()
	if x != nil && x.gathering != nil {
		g = x.gathering
	}
	before := g.head.Held()
	head, rest, err := g.head.Take(b, srv.cfg.MaxHeader)
	if !srv.memory.Hold(before, g.head.Held(), limit.ForRequest()) && head == nil && err == nil {
		srv.stats.ShortOfMemory.Add(1)
		err = errNoMemory
	}
	if head == nil && err == nil {
		if g == &first {
			kept := first
			s.extend().gathering = &kept
		}
		return nil
	}
	if x != nil {
		// An idle session has none, unless it keeps the address that a proxy has named. Only
		// the read turn uses it so far.
		if x.gathering = nil; !x.client.valid {
			s.ext.Store(nil)
		}
	}
	defer srv.memory.Hold(g.head.Held(), 0, limit.ForRequest())
	if err != nil {
		s.reject(err, nil)
		return nil
	}
	if !s.enter(deciding, 0) {
		return nil // rejected a moment ago
	}
	return s.answer(head, rest, g.arrived)
}

// dropGathering gives up the request of a connection that has ended.
func (s *Session) dropGathering(x *extension) {
	if x.gathering != nil {
		s.srv().memory.Hold(x.gathering.held(), 0, limit.ForRequest())
		x.gathering = nil
	}
}

// Outcomes of begin that are not rejections.
var (
	errPlain       = errors.New("the request is not a WebSocket handshake")
	errIdentifying = errors.New("an Identifier has the request")
)

// answer checks a complete request and opens the session, rejects it, or leaves it to an
// Identifier or to Config.Fallback. It returns the bytes that follow the request if the
// session is open.
func (s *Session) answer(head, rest []byte, arrived uint32) []byte {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	err := s.begin(h, head, rest, arrived)
	switch {
	case err == nil:
		return rest
	case errors.Is(err, errIdentifying):
		return nil
	case errors.Is(err, errPlain):
		if s.srv().fallback.Acquire() {
			s.servePlain(head, rest)
			return nil
		}
		s.srv().stats.FallbackFull.Add(1)
		err = errFallbackFull
	}
	s.reject(err, &h.req)
	return nil
}

// begin checks a complete request, and opens the session unless that must wait for the
// endpoint's Identifier.
func (s *Session) begin(h *handshakeBuffer, head, rest []byte, arrived uint32) error {
	srv := s.srv()
	r := &h.req
	if err := r.head.Parse(head); err != nil {
		return err
	}
	r.session, r.tls = s, s.tlsState()
	if host := r.head.Authority(); srv.localOnly.Load() && len(host) > 0 && !handshake.IsLocalHost(host) {
		return srv.rejectHost(host)
	}
	ep := srv.endpoints[string(r.head.Path)]
	if !r.head.IsUpgrade() && !ep.beginsStream(r) {
		return errPlain
	}
	if ep == nil {
		return &Rejection{
			Status: http.StatusNotFound,
			Text:   "no WebSocket endpoint at " + handshake.Quote(r.head.Path),
			Reason: "no WebSocket endpoint at this path",
		}
	}
	if srv.status.Load() >= draining {
		return errGoingAway
	}
	if err := handshake.CheckHost(&r.head); err != nil {
		return err
	}
	if err := srv.limitHandshake(s, r); err != nil {
		return err
	}
	if err := ep.check(r); err != nil {
		return err
	}
	var id Identity
	if ep.Identifier != nil {
		if !ep.NonBlocking {
			return s.identifyLater(ep, r, head, rest, arrived)
		}
		var err error
		if id, err = ep.identify(srv.quit, r); errors.Is(err, ErrMustWait) {
			return s.identifyLater(ep, r, head, rest, arrived)
		}
		if err != nil {
			return err
		}
	}
	a, err := ep.admit(h, id)
	if err != nil {
		return err
	}
	return s.open(ep, &a)
}

// rejectHost protects a server on loopback that believes what clients say against DNS
// rebinding: a page makes its own name resolve to this machine, and so has the same
// origin as this server.
func (srv *Server) rejectHost(host []byte) error {
	return &Rejection{
		Status: http.StatusForbidden,
		Text: "the Host field names " + handshake.Quote(host) + ", not this machine; a server that identifies users by the query and listens on loopback " +
			"accepts IP addresses and localhost only, unless a proxy is trusted (" + field.Setting(srv.cfg.FieldName, "TrustedProxies") + ")",
		Reason: "host is not local",
	}
}

// servePlain gives the connection to net/http, for a request that fallback.Acquire has
// counted.
func (s *Session) servePlain(head, rest []byte) {
	srv := s.srv()
	srv.stats.Fallback.Add(1)
	s.enter(ended, 0)
	srv.wheel.Stop(s)
	nc, err := s.conn.Detach()
	if err != nil {
		srv.fallback.Release()
		s.conn.Close()
		return
	}
	srv.background.Add(1)
	srv.fallback.Serve(s.namingClient(nc), slices.Concat(head, rest), s.tlsState(), func() {
		srv.uncount(s)
		srv.background.Done()
	})
}

// checkHeader marks a plain GET request at an endpoint as a question: the answer is what
// a WebSocket handshake with the same query and header would get. Browsers do not tell
// pages why a handshake was rejected, and with curl it takes four headers.
const checkHeader = "Fanfare-Check"

// answerCheck answers such a request. It counts as a handshake against the rates, so that
// it gives an attacker no more attempts at guessing a token. A page of another site cannot send
// it: the header makes browsers ask first, with OPTIONS.
func (ep *endpoint) answerCheck(w http.ResponseWriter, r *http.Request) {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	for _, f := range [][2]string{
		{"Upgrade", "websocket"}, {"Connection", "Upgrade"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		if r.Header.Get(f[0]) == "" || f[0] == "Connection" {
			h.req.head.Add(f[0], f[1])
		}
	}
	_, err := ep.decideHosted(r.Context(), h, nil)
	var rejection *Rejection
	switch {
	case err == nil:
		plainText(w, http.StatusOK, "the handshake would be accepted")
	case errors.As(err, &rejection):
		for name, values := range rejection.Header {
			w.Header()[name] = values
		}
		plainText(w, rejection.Status, rejection.Text)
	default:
		ep.srv.log.Error("handshake check failed", "err", err)
		plainText(w, errInternal.Status, errInternal.Text)
	}
}
