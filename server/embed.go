package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"fanfare/server/internal/limit"
)

// Mount is an endpoint inside of another program's HTTP server. It is made
// once, and serves any number of requests.
//
// What is refused is answered by that server, as any request, so that its
// middleware sees the status. What is accepted leaves it: the connection is
// hijacked, its descriptor moves to the Server, and the handler returns at once;
// no goroutine and no memory of the HTTP server stays behind. A connection whose
// bytes pass through something else (TLS, a net.Listener that wraps what it
// accepts) keeps a goroutine.
//
// How long a request may be, and may take, is the business of that server.
//
// The request's context ends when the handler returns, as it does for all
// requests: what hooks need of it is for Identity.Data. An HTTP server knows
// nothing of connections that were hijacked: shut it down first, and then the
// Server.
type Mount struct{ ep endpoint }

// Mount prepares an endpoint to be served inside of another HTTP server. That
// server does the routing: Endpoint.Path may be empty and is for logs only. That
// an endpoint is Insecure is not checked here.
func (srv *Server) Mount(ep Endpoint) (*Mount, error) {
	if ep.Path == "" {
		ep.Path = "/"
	}
	if err := ep.validate(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &Mount{endpoint{Endpoint: ep, srv: srv}}, nil
}

// ServeHTTP makes a Mount an http.Handler, for net/http and what stands on it.
// Endpoint.Identify says whose session it is.
func (m *Mount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.upgrade(w, r, nil)
}

// Upgrade is ServeHTTP for a program that has looked at the request itself: id
// says whose session it is, and Endpoint.Identify is not asked. A session
// without a User is accepted, and reached by no push. The client has its answer in any case. An error is a *Refusal if it was turned away; any other
// is for the log, and there already.
func (m *Mount) Upgrade(w http.ResponseWriter, r *http.Request, id Identity) error {
	return m.upgrade(w, r, &id)
}

func (m *Mount) upgrade(w http.ResponseWriter, r *http.Request, preset *Identity) error {
	h := handshakes.Get().(*handshake)
	defer h.free()
	h.req.fromHTTP(r)
	a, err := m.ep.arrive(h, preset)
	if err != nil {
		m.ep.srv.refusalOf(err).serveHTTP(w)
		return err
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		err = fmt.Errorf("server: cannot take the connection out of a %T: %w", w, err)
		m.ep.srv.refusalOf(err).serveHTTP(w)
		return err
	}
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return a.adopt(nc, ahead)
}

// adoption is a handshake that another server has read and this one has accepted,
// until the session is open.
type adoption struct {
	ep   *endpoint
	from netip.Addr // for sources
	admission
	over chan struct{} // for extension.over
	err  error         // of Session.openAdopted
}

// openAdopted opens the session of a connection that another server has accepted. Any
// other session opens when its request has arrived.
func (s *Session) openAdopted() {
	x := s.ext.Load()
	if x == nil || x.adopted == nil {
		return
	}
	a := x.adopted
	if x.adopted = nil; a.over == nil {
		s.ext.Store(nil) // an idle session has none; only the read turn uses it so far
	}
	if !s.enter(answering, 0) {
		a.err = errGoingAway
		return
	}
	if a.err = s.open(a.ep, &a.admission); a.err != nil {
		s.refuse(a.err)
	}
}

// arrive checks a handshake whose request is in h.
func (ep *endpoint) arrive(h *handshake, preset *Identity) (*adoption, error) {
	srv := ep.srv
	peer := h.req.peer.Addr()
	from := limit.PeerAddr(peer)
	if srv.trusted(peer) {
		from = srv.behindProxy(peer, &h.req)
	}
	if h.req.hasToken("Upgrade", "websocket") { // else it is no handshake, and refused as such
		if err := srv.roomFor(from); err != nil {
			return nil, err
		}
	}
	a, err := ep.admit(h, preset)
	if err != nil {
		return nil, err
	}
	a.answer = append([]byte(nil), a.answer...) // h is returned
	return &adoption{ep: ep, from: from, admission: a}, nil
}

// roomFor is what accept and screen are to connections of our own listener. Here
// a refusal can still be an ordinary answer. Nothing is reserved, because the
// other server may fail to let the connection go: adopt looks again.
func (srv *Server) roomFor(from netip.Addr) error {
	switch {
	case srv.status.Load() >= draining:
		return errGoingAway
	case srv.memory.Short():
		srv.stats.pressed.Add(1)
		return full
	case srv.connections.Load() >= int64(srv.cfg.MaxConnections):
		srv.stats.full.Add(1)
		return full
	}
	src, err := srv.enter(from)
	if err != nil {
		return err
	}
	defer src.Leave()
	return srv.pace(src)
}

// refuseTimeout bounds the answer to a client for which there is no room after
// all.
const refuseTimeout = time.Second

// adopt opens the session on the connection that was hijacked. ahead was read
// behind the request.
func (a *adoption) adopt(nc net.Conn, ahead []byte) error {
	srv := a.ep.srv
	// Those that the other server has set are about requests.
	nc.SetDeadline(time.Time{})
	if srv.status.Load() >= draining {
		return a.turnAway(nc, errGoingAway)
	}
	src, err := srv.enter(a.from)
	if err != nil {
		return a.turnAway(nc, err)
	}
	s := srv.newSession(srv.lobby)
	if s == nil {
		src.Leave()
		return a.turnAway(nc, full)
	}
	s.source = src
	x := s.extend()
	x.adopted, x.over = a, a.over
	if err := srv.engine.Adopt(nc, &s.conn, handler{s}, ahead); err != nil {
		srv.depart(s)
		if errors.Is(err, net.ErrClosed) {
			return a.turnAway(nc, errGoingAway)
		}
		return a.turnAway(nc, fmt.Errorf("server: adopt: %w", err))
	}
	return a.err
}

// turnAway is for what goes wrong when the other server can answer no more.
func (a *adoption) turnAway(nc net.Conn, err error) error {
	nc.SetDeadline(time.Now().Add(refuseTimeout))
	nc.Write(a.ep.srv.refusalOf(err).response())
	nc.Close()
	if a.over != nil {
		close(a.over)
	}
	return err
}

// serveHTTP answers a request of net/http.
func (r *Refusal) serveHTTP(w http.ResponseWriter) {
	for name, value := range r.fields {
		w.Header().Set(name, value)
	}
	http.Error(w, r.Text, r.Status)
}

// fields walks the further header fields of the answer.
func (r *Refusal) fields(yield func(name, value string) bool) {
	for line := range strings.Lines(r.header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		if !yield(name, value) {
			return
		}
	}
}

// fromHTTP makes r what a request of net/http says. Its fields are not checked
// again: those of the wire were by net/http, and none of them is sent on.
func (r *Request) fromHTTP(in *http.Request) {
	r.method, r.version = []byte(in.Method), []byte(in.Proto)
	r.path, r.query = []byte(in.URL.EscapedPath()), []byte(in.URL.RawQuery)
	r.peer = limit.ParseAddrPort(in.RemoteAddr)
	if in.Host != "" { // net/http has moved it there, and lets an empty field pass
		r.add("Host", in.Host)
	}
	for name, values := range in.Header {
		for _, v := range values {
			if name != "Host" {
				r.add(name, v)
			}
		}
	}
	for _, v := range in.TransferEncoding { // likewise
		r.add("Transfer-Encoding", v)
	}
}

func (r *Request) add(name, value string) {
	r.headers = append(r.headers, header{[]byte(name), []byte(value)})
}
