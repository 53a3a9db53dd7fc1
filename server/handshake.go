package server

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"fanfare/netpoll"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// A handshake is rejected in one of these steps, in this order:
//
//   - accept: a limit on connections (limits.go), or draining;
//   - the PROXY protocol header (preamble.go);
//   - TLS: package secure, and checkPlain for TLS at a plain listener (preamble.go);
//   - gathering: the size and the deadline of the request, and memory (handshake.go);
//   - the request: its path, Host and rate (handshake.go), the rules of RFC 6455 and its
//     origin (endpoint.check in admit.go);
//   - identity: the Identifier and its deadline (identify.go);
//   - admission: topics, sub-protocol, and the limits per user (endpoint.admit in admit.go).

// Rejection is an error that is the answer to a handshake: an HTTP
// Status of 400 to 599, a Text, and further Header fields if any. Reason, if not empty,
// takes the place of Text in the log, for texts that differ from client to client.
type Rejection = handshake.Rejection

// Reject returns a Rejection: what an Identifier returns to reject a client.
func Reject(status int, text string) error { return handshake.Reject(status, text) }

// Request is the opening handshake of a client (RFC 6455, section 4.1), as an
// Identifier and a Dialect see it. It is valid until these return; the strings that it
// returns are copies.
type Request struct {
	head handshake.Request

	session *Session       // whose connection it came on; nil: another server has read it
	peer    netip.AddrPort // if another server has
	client  netip.AddrPort // as a trusted proxy names it; zero: no proxy, or it does not
	proxied bool           // the peer is a trusted proxy
	tls     *tls.ConnectionState
	hosted  *http.Request

	query    handshake.Query // the parameters that were asked for
	mayBlock bool
}

// reset clears the request and keeps its memory.
func (r *Request) reset() {
	r.head.Reset()
	r.query.Reset()
	*r = Request{head: r.head, query: r.query}
}

// Method is GET unless the request is rejected anyway.
func (r *Request) Method() string { return string(r.head.Method) }

// Host is the host that the client wants to reach, with its port if that is named.
func (r *Request) Host() string { return string(r.head.Authority()) }

// Path is the path of the request, percent-encoded, without the query.
func (r *Request) Path() string { return string(r.head.Path) }

// Query returns the query parameter of that name, decoded; empty if there is none. A
// handshake that repeats it is rejected. See Endpoint.AllowQuery.
func (r *Request) Query(name string) string {
	r.query.Use(name)
	for v := range r.head.Params(name) {
		return v
	}
	return ""
}

// QueryAll returns all query parameters of that name, decoded, in order.
func (r *Request) QueryAll(name string) []string {
	r.query.UseAll(name)
	return slices.Collect(r.head.Params(name))
}

// Header returns the first header field of that name, in any case; empty if none.
func (r *Request) Header(name string) string {
	v, _ := r.head.Field(name)
	return string(v)
}

// Headers returns all header fields of that name, in any case, in order.
func (r *Request) Headers(name string) (values []string) {
	for _, f := range r.head.Fields {
		if handshake.EqualFold(f.Name, name) {
			values = append(values, string(f.Value))
		}
	}
	return values
}

// Cookie returns the value of the first cookie of that name; empty if none.
func (r *Request) Cookie(name string) string {
	v, _ := r.head.Cookie(name)
	return string(v)
}

// RemoteAddr is the client's address: the one that a proxy of Config.TrustedProxies
// names, whose port is 0 unless the proxy names that too, or the peer's. It is the zero
// AddrPort for a Unix socket.
func (r *Request) RemoteAddr() netip.AddrPort {
	switch {
	case r.client.IsValid():
		return r.client
	case r.session != nil:
		return r.session.RemoteAddr()
	}
	return r.peer
}

// TLS describes the TLS connection that the request came on. It is nil without TLS, and if
// TLS ends at a proxy.
func (r *Request) TLS() *tls.ConnectionState { return r.tls }

// MayBlock reports whether the Identifier that is called with this request may block. One
// that must not, and has to, returns ErrMustWait.
func (r *Request) MayBlock() bool { return r.mayBlock }

// HTTP is the request of net/http that a Mount was given, with what middleware has put
// into its context. It is nil for any other request. After a call the query may have any
// parameters, see Endpoint.AllowQuery.
func (r *Request) HTTP() *http.Request {
	if r.hosted != nil {
		r.query.UseAny()
	}
	return r.hosted
}

// Unread returns the names of up to four query parameters that Query and QueryAll were not
// asked for so far, quoted. It is for the text of an Identifier that misses a parameter, which
// may be misspelled.
func (r *Request) Unread() []string {
	return r.query.Unused(&r.head)
}

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
		err = handshake.ErrNoMemory
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
		err = handshake.ErrFallbackFull
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
		return handshake.RejectHost(host, field.Setting(srv.cfg.FieldName, "TrustedProxies"))
	}
	ep := srv.endpointAt(string(r.head.Path))
	if !r.head.IsUpgrade() && !ep.beginsStream(r) {
		if err := handshake.CheckHost(&r.head); err != nil {
			return err // net/http would reject it without a line in the log
		}
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
		return handshake.ErrGoingAway
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
	id, restored, err := ep.restore(r)
	if err != nil {
		return err
	}
	if ep.Identifier != nil && !restored {
		if !ep.NonBlocking {
			return s.identifyLater(ep, r, head, rest, arrived)
		}
		if id, err = ep.identify(srv.quit, r); errors.Is(err, ErrMustWait) {
			return s.identifyLater(ep, r, head, rest, arrived)
		}
		if err != nil {
			return err
		}
	}
	return s.admitAs(ep, h, id)
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

// reject answers a handshake with an HTTP error and ends the connection. It discards
// an answer that is still queued, so only the holder of the read turn may call it. r is nil
// if the request could not be read.
func (s *Session) reject(err error, r *Request) {
	if errors.Is(err, ErrClosed) {
		return
	}
	rejection := s.srv().rejection(err)
	if r != nil {
		rejection = s.srv().endpointAt(string(r.head.Path)).readable(rejection, r)
	}
	s.noteRejection(rejection, r)
	if s.enter(lingering, 0) {
		s.sendRejection(rejection)
	}
}

// rejectEarly is reject for goroutines that do not hold the read turn. It has no effect
// unless the server waits for the request, or for an Identifier.
func (s *Session) rejectEarly(r *Rejection) {
	if s.advance(readingProxyHeader, lingering) || s.advance(readingRequest, lingering) || s.advance(identifying, lingering) {
		s.srv().stats.Reject(r.Status)
		r = handshake.Spread(r, s.srv().random)
		s.noteRejection(r, nil)
		s.sendRejection(r)
		s.cancelIdentification()
	}
}

// sendRejection shuts down the sending side after the answer. The rest of the request
// is read, since a close with unread bytes would reset the connection, and the client
// would not see the answer.
func (s *Session) sendRejection(r *Rejection) {
	if s.tlsHandshaking() {
		s.conn.Close() // no answer can be sent
		return
	}
	s.seal(r.AppendResponse(nil, s.srv().wall()), true, netpoll.HalfClose)
}

// rejection counts an error and returns the answer to the client: an error that is not a
// Rejection is the server's fault, and is logged.
func (srv *Server) rejection(err error) *Rejection {
	var r *Rejection
	if !isRejection(err, &r) {
		srv.log.Error("handshake failed", "err", err)
		r = handshake.Fault(err)
	}
	srv.stats.Reject(r.Status)
	return handshake.Spread(r, srv.random)
}

// noteRejection logs the rejection.
func (s *Session) noteRejection(rejection *Rejection, r *Request) {
	addr := netip.AddrPort{}
	var origin []byte
	if r != nil {
		r.session = s
		addr = r.RemoteAddr()
		origin, _ = r.head.Field("Origin")
	} else {
		addr = s.RemoteAddr()
	}
	s.srv().rejectLog.Note(rejection, addr.Addr(), origin)
}
