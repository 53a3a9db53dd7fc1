package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"math"
	"net"
	"net/http"
	"net/netip"
	"time"

	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// Mount is an endpoint inside another program's HTTP server. It is made once, and serves
// any number of requests. With net/http, and what builds on it, a Mount is an
// http.Handler; package fasthttpmount serves one with fasthttp. Begin and Adopt are for
// other servers.
//
// The HTTP server answers handshakes that are rejected, like any request, so that its
// middleware sees the status. A connection whose handshake is accepted leaves it: the
// connection is hijacked, its descriptor moves to the Server, and the handler returns at
// once; no goroutine and no memory of the HTTP server remains. A connection whose bytes
// pass through something else (TLS, a net.Listener that wraps what it accepts) keeps a
// goroutine.
//
// The HTTP server bounds the length of a request and the time for it. It knows nothing of
// connections that were hijacked: shut it down first, and then the Server.
type Mount struct{ ep *endpoint }

// Mount prepares an endpoint for another HTTP server. That server does the routing:
// Endpoint.Path may be empty and is for logs only. Whether an endpoint is Insecure is not
// checked here.
func (srv *Server) Mount(ep Endpoint) (*Mount, error) {
	if ep.Path == "" {
		ep.Path = "/"
	}
	if err := ep.validate(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	e := newEndpoint(ep, srv)
	srv.mounts.LoadOrStore(ep.Path, e)
	return &Mount{e}, nil
}

// HostedRequest is a request that another HTTP server has read and checked. Its slices
// are borrowed until Begin returns.
type HostedRequest struct {
	Method, Proto  []byte // "GET", "HTTP/1.1"
	Path, RawQuery []byte // as they came, percent-encoded
	// Header iterates over the fields as they came, Host and Transfer-Encoding among
	// them.
	Header iter.Seq2[[]byte, []byte]
	// RemoteAddr is the peer's address, or the client's if the server knows that.
	RemoteAddr netip.AddrPort
	TLS        *tls.ConnectionState // nil: none
}

// Begin decides about a handshake, before its connection is taken from the HTTP server.
// If id is nil, Endpoint.Identifier returns whose session it is, on this goroutine, with
// the values of ctx. An error is a *Rejection in any case: the answer to the client.
func (m *Mount) Begin(ctx context.Context, r *HostedRequest, id *Identity) (*Adoption, error) {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	in := &h.req.head
	in.Method, in.Version, in.Path, in.Query = r.Method, r.Proto, r.Path, r.RawQuery
	for name, value := range r.Header {
		in.Fields = append(in.Fields, handshake.Field{Name: name, Value: value})
	}
	h.req.peer, h.req.tls = r.RemoteAddr, r.TLS
	return m.begin(ctx, h, id)
}

// begin is Begin for the request in h.
func (m *Mount) begin(ctx context.Context, h *handshakeBuffer, id *Identity) (*Adoption, error) {
	a, err := m.ep.decideHosted(ctx, h, id)
	if err != nil {
		return nil, m.ep.rejected(err, &h.req)
	}
	return a, nil
}

// rejected returns what a client that another server hosts is sent, and notes it for the log.
func (ep *endpoint) rejected(err error, r *Request) *Rejection {
	return ep.readable(ep.srv.rejected(err, r), r)
}

func (srv *Server) rejected(err error, r *Request) *Rejection {
	rejection := srv.rejection(err)
	origin, _ := r.head.Field("Origin")
	srv.rejectLog.Note(rejection, r.RemoteAddr().Addr(), origin)
	return rejection
}

// Adoption is a handshake that another server has read and this one has accepted. It ends
// with one call of Adopt or Serve.
type Adoption struct {
	ep   *endpoint
	peer netip.AddrPort // as the other server reports it
	from netip.Addr     // for sources
	admission
	over chan struct{} // for extension.over
	err  error         // of Session.openAdopted
}

// decideHosted checks a handshake whose request is in h.
func (ep *endpoint) decideHosted(ctx context.Context, h *handshakeBuffer, preset *Identity) (*Adoption, error) {
	id, from, err := ep.identifyRequest(ctx, h, preset, true)
	if err != nil {
		return nil, err
	}
	a, err := ep.admit(h, id)
	if err != nil {
		return nil, err
	}
	a.answer = append([]byte(nil), a.answer...) // h is returned
	return &Adoption{ep: ep, peer: h.req.peer, from: from, admission: a}, nil
}

// identifyRequest does everything that comes before admit, and returns the address under
// which the client is counted as well. opens says that the request is to open a session.
func (ep *endpoint) identifyRequest(ctx context.Context, h *handshakeBuffer, preset *Identity, opens bool) (id Identity, from netip.Addr, err error) {
	srv, r := ep.srv, &h.req
	peer := r.peer.Addr()
	from = limit.PeerAddr(peer)
	if srv.trusted(peer) {
		if from, err = srv.clientAddress(r, peer); err != nil {
			return id, from, err
		}
	}
	switch {
	case !opens:
		err = srv.checkRate(from)
	case r.head.IsUpgrade() || ep.streams(): // else it is not a handshake, and rejected as such
		err = srv.checkRoom(from)
	}
	if err != nil {
		return id, from, err
	}
	if err := ep.check(r); err != nil {
		return id, from, err
	}
	if preset != nil {
		id = *preset
		r.query.UseAny() // the program has looked at the request itself
	} else if ep.Identifier != nil {
		id, err = ep.identifyHosted(ctx, r)
	}
	return id, from, err
}

// identifyHosted calls the Identifier on the HTTP server's goroutine.
func (ep *endpoint) identifyHosted(ctx context.Context, r *Request) (Identity, error) {
	if id, restored, err := ep.restore(r); restored || err != nil {
		return id, err
	}
	if ep.NonBlocking {
		if id, err := ep.identify(ctx, r); !errors.Is(err, ErrMustWait) {
			return id, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ep.srv.live().HandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(ep.srv.quit, cancel)()
	r.mayBlock = true
	return ep.identify(ctx, r)
}

// checkRoom does for a Mount what accept and limitHandshake do for the public listener, while a
// rejection can still be an ordinary response. It reserves nothing, because the HTTP server
// may fail to release the connection: Adopt checks again.
func (srv *Server) checkRoom(from netip.Addr) error {
	switch {
	case srv.status.Load() >= draining:
		return handshake.ErrGoingAway
	case srv.memory.Short():
		srv.stats.ShortOfMemory.Add(1)
		return handshake.ErrFull
	case srv.connections.Load() >= int64(srv.live().MaxConnections):
		srv.stats.Full.Add(1)
		return handshake.ErrFull
	}
	src, err := srv.enterSource(from)
	if err != nil {
		return err
	}
	defer src.Leave()
	return srv.countHandshake(src)
}

// checkRate counts a request that takes no connection in addition to its own.
func (srv *Server) checkRate(from netip.Addr) error {
	src, _ := srv.sources.Enter(from, math.MaxInt)
	defer src.Leave()
	return srv.countHandshake(src)
}

// rejectTimeout bounds the answer to a client that is rejected after its connection was taken over.
const rejectTimeout = time.Second

// Adopt answers the handshake on the connection that the HTTP server has given up, and
// opens the session. ahead are the bytes that followed the request and were read already.
// nc belongs to the Server afterwards, also after an error, which has been sent to the
// client.
func (a *Adoption) Adopt(nc net.Conn, ahead []byte) error {
	srv := a.ep.srv
	nc.SetDeadline(time.Time{}) // the deadlines of the HTTP server are for requests
	if srv.status.Load() >= draining {
		return a.reject(nc, handshake.ErrGoingAway)
	}
	src, err := srv.enterSource(a.from)
	if err != nil {
		return a.reject(nc, err)
	}
	s := srv.newSession(srv.unrouted)
	if s == nil {
		src.Leave()
		return a.reject(nc, handshake.ErrFull)
	}
	s.source = src
	if !a.client.IsValid() && a.peer.IsValid() && nc.RemoteAddr() != nil && limit.ParseAddrPort(nc.RemoteAddr().String()) != a.peer {
		a.client = a.peer // the HTTP server knows the client
	}
	x := s.extend()
	x.adopted, x.over = a, a.over
	if err := srv.engine.Adopt(nc, &s.conn, handler{s}, ahead); err != nil {
		srv.uncount(s)
		if errors.Is(err, net.ErrClosed) {
			return a.reject(nc, handshake.ErrGoingAway)
		}
		return a.reject(nc, fmt.Errorf("server: adopt: %w", err))
	}
	return a.err
}

// Serve is Adopt for an HTTP server that closes nc, or uses its memory again, when its
// handler returns: Serve returns when nc is not in use any more. For a TCP connection
// that is at once, because its descriptor is duplicated.
func (a *Adoption) Serve(nc net.Conn, ahead []byte) error {
	if !a.ep.srv.engine.Watches(nc) {
		a.over = make(chan struct{})
	}
	err := a.Adopt(nc, ahead)
	if a.over != nil {
		<-a.over
	}
	return err
}

// reject answers on a connection that the HTTP server has released.
func (a *Adoption) reject(nc net.Conn, err error) error {
	srv := a.ep.srv
	rejection := srv.rejection(err)
	srv.rejectLog.Note(rejection, a.peer.Addr(), nil)
	nc.SetDeadline(srv.wall().Add(rejectTimeout))
	nc.Write(rejection.AppendResponse(nil, srv.wall()))
	nc.Close()
	if a.over != nil {
		close(a.over)
	}
	return rejection
}

// opening is the handler's Open. It opens the session of a connection that another server has
// accepted. Any other session opens when its request has arrived.
func (s *Session) opening() {
	if x := s.ext.Load(); x != nil && x.adopted != nil {
		s.openAdopted(x)
	} else if s.srv().tls != nil {
		s.secure()
	}
}

// openAdopted opens the session of a connection that another server has accepted.
func (s *Session) openAdopted(x *extension) {
	a := x.adopted
	if x.adopted = nil; a.over == nil {
		s.ext.Store(nil) // an idle session has none; only the read turn uses it so far
	}
	if !s.enter(deciding, 0) {
		a.err = handshake.ErrGoingAway
		return
	}
	if a.err = s.open(a.ep, &a.admission); a.err != nil {
		s.reject(a.err, nil)
	}
}

// ServeHTTP makes a Mount an http.Handler. Endpoint.Identifier returns whose session it is.
func (m *Mount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.upgrade(w, r, nil)
}

// Upgrade is ServeHTTP for a program that has looked at the request itself: id tells
// whose session it is, and Endpoint.Identifier is not called. A session without a User is
// accepted, but no push reaches it. The client has its answer in any case. An error is a
// *Rejection; for one of status 500 the cause, which errors.Is finds, has been logged.
func (m *Mount) Upgrade(w http.ResponseWriter, r *http.Request, id Identity) error {
	return m.upgrade(w, r, &id)
}

func (m *Mount) upgrade(w http.ResponseWriter, r *http.Request, preset *Identity) error {
	if m.ep.streams() && (r.Method != http.MethodGet || r.Header.Get(checkHeader) != "") {
		return m.ep.serveStream(w, r, preset)
	}
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	a, err := m.begin(r.Context(), h, preset)
	if err != nil {
		serveRejection(w, err.(*Rejection))
		return err
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		rejection := m.ep.srv.rejection(fmt.Errorf("server: cannot take the connection out of a %T: %w", w, err))
		serveRejection(w, rejection)
		return rejection
	}
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return a.Adopt(nc, ahead)
}

// serveRejection answers a request of net/http.
func serveRejection(w http.ResponseWriter, r *Rejection) {
	for name, values := range r.Header {
		for _, v := range values {
			w.Header().Add(name, v)
		}
	}
	http.Error(w, r.Text, r.Status)
}

// fromHTTP makes r a request of net/http. The fields are not checked again: net/http has
// checked those of the wire, and none of them is sent on.
func (r *Request) fromHTTP(in *http.Request) {
	h := &r.head
	h.Method, h.Version = []byte(in.Method), []byte(in.Proto)
	h.Path, h.Query = []byte(in.URL.EscapedPath()), []byte(in.URL.RawQuery)
	r.peer = limit.ParseAddrPort(in.RemoteAddr)
	r.tls, r.hosted = in.TLS, in
	if in.Host != "" { // net/http has moved it there, and lets an empty field pass
		h.Add("Host", in.Host)
	}
	for name, values := range in.Header {
		for _, v := range values {
			if name != "Host" {
				h.Add(name, v)
			}
		}
	}
	for _, v := range in.TransferEncoding { // likewise
		h.Add("Transfer-Encoding", v)
	}
}
