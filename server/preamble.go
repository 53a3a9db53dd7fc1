package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"fanfare/netpoll"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/proxyproto"
	"fanfare/server/internal/secure"
)

// This file has what precedes the request on a connection: the header of the PROXY protocol
// and the handshake of TLS. Packages proxyproto and secure read them; a session owns what they
// say.

// TLS is a Config.TLS. The code that serves TLS, 0.2 MiB, is linked only into programs that
// call NewTLS.
type TLS struct {
	config *tls.Config
	start  func(secure.Config) tlsService
}

// NewTLS returns a Config.TLS that serves connections with a copy of cfg.
func NewTLS(cfg *tls.Config) *TLS {
	return &TLS{cfg, func(c secure.Config) tlsService { return secure.New(c) }}
}

// tlsService is a secure.Service.
type tlsService interface {
	Secure(c *netpoll.Conn, owner secure.Owner) error
	Listener(ln net.Listener) net.Listener
	Import(st *secure.State) (netpoll.Layer, error)
	SetConfig(cfg *tls.Config)
	Sweep()
	Stats() secure.Stats
}

// ErrNoTLS is what SetTLS returns for a Server without Config.TLS.
var ErrNoTLS = errors.New("server: Config.TLS is nil, so connections are served without TLS")

// SetTLS replaces Config.TLS, for example by one with renewed certificates, for the
// connections that are accepted from now on. Open connections are not affected. Session
// tickets of the old one are not accepted any more, so that clients are authenticated by
// the new one.
func (srv *Server) SetTLS(cfg *tls.Config) error {
	if srv.tls == nil {
		return ErrNoTLS
	}
	if err := secure.Validate(cfg); err != nil {
		return err
	}
	srv.tls.SetConfig(cfg)
	return nil
}

// secure puts TLS between the session and its connection. A connection that a goroutine
// serves has it already: Serve wraps the listener.
func (s *Session) secure() {
	if s.conn.NetConn() != nil {
		return
	}
	if err := s.srv().tls.Secure(&s.conn, tlsOwner{s}); err != nil {
		panic("BUG: server: " + err.Error())
	}
}

// tlsOwner makes a session the owner of a TLS handshake.
type tlsOwner struct{ s *Session }

// Allow counts the TLS handshake against the rates of handshakes: it costs more than
// reading the request.
func (o tlsOwner) Allow() error {
	return o.s.srv().countHandshake(o.s.source)
}

// Failed ends the connection. The client may still have to read an alert.
func (o tlsOwner) Failed(err error) {
	s := o.s
	if s.advance(readingProxyHeader, lingering) || s.advance(readingRequest, lingering) {
		s.noteRejection(s.srv().tlsRejection(err), nil)
		s.seal(nil, true, netpoll.HalfClose)
	}
}

// tlsFailed notes a TLS handshake that failed on a connection that a goroutine serves.
func (srv *Server) tlsFailed(nc net.Conn, err error) {
	var addr netip.Addr
	if peer, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		addr = peer.AddrPort().Addr().Unmap()
	}
	srv.rejectLog.Note(srv.tlsRejection(err), addr, nil)
}

// tlsRejection returns what is noted of a TLS handshake that failed, and counts it if the
// client got an HTTP status. All are counted by package secure.
func (srv *Server) tlsRejection(err error) *Rejection {
	var rejection *Rejection
	if errors.As(err, &rejection) {
		return rejection
	}
	reason := secure.Reason(err)
	if reason == "plain_http" {
		srv.stats.Reject(http.StatusBadRequest)
		return &Rejection{
			Status: http.StatusBadRequest,
			Text:   "an HTTP request without TLS arrived at a listener with TLS: use wss:// or https://",
			Reason: "HTTP request without TLS at a listener with TLS",
		}
	}
	return &Rejection{Text: "TLS handshake failed: " + err.Error(), Reason: "TLS handshake failed: " + reason}
}

// layer returns the session's TLS; nil if there is none, or a goroutine serves the connection.
func (s *Session) layer() *secure.Layer {
	l, _ := s.conn.Layer().(*secure.Layer)
	return l
}

// tlsState describes the TLS connection of a session that is not open yet; nil if there
// is none.
func (s *Session) tlsState() *tls.ConnectionState {
	if l := s.layer(); l != nil {
		return l.State()
	}
	if nc, ok := s.conn.NetConn().(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := nc.ConnectionState()
		return &state
	}
	return nil
}

func (s *Session) forgetTLS() {
	if l := s.layer(); l != nil {
		l.Forget()
	}
}

func (s *Session) tlsHandshaking() bool {
	l := s.layer()
	return l != nil && l.Handshaking()
}

// securedByUs reports whether the session's TLS handshake was counted by tlsOwner.Allow.
func (s *Session) securedByUs() bool { return s.layer() != nil }

// rejectHello answers a client that speaks TLS to a listener without it. The client does
// not understand the answer: it is for the log.
func (srv *Server) rejectHello() error {
	return &Rejection{
		Status: http.StatusBadRequest,
		Text: "a TLS handshake arrived at a listener without TLS: use ws:// or http://, or configure TLS (" +
			field.Setting(srv.cfg.FieldName, "TLS") + ")",
		Reason: "TLS handshake at a listener without TLS",
	}
}

// checkPlain recognizes a TLS handshake by its first byte, the type of the
// record, RFC 8446 section 5.1. It rejects PROXY protocol headers, too.
func (s *Session) checkPlain(b []byte) error {
	x := s.ext.Load()
	if first := x == nil || x.gathering == nil || x.gathering.head.Held() == 0; !first {
		return nil
	}
	switch {
	case len(b) > 0 && b[0] == 22:
		return s.srv().rejectHello()
	case proxyproto.Announced(b):
		return s.srv().rejectProxyHeader()
	}
	return nil
}

// A proxy of Config.ProxyProtocol begins each connection with a header that names the
// client. It comes before TLS, and is read where the bytes after it are:
//
//   - readProxyHeader, in the read turn, on a connection without TLS;
//   - tlsOwner.Preface, in the read turn, before the ClientHello;
//   - proxyproto.Conn, where crypto/tls reads the connection with a goroutine.
//
// announced takes over what it says. Before that the session is in the phase
// readingProxyHeader, which has the deadline of the handshake.

// announces reports whether a peer is a proxy of Config.ProxyProtocol.
func (srv *Server) announces(peer netip.Addr) bool {
	return limit.Proxies(srv.live().ProxyProtocol).Contain(peer)
}

// readProxyHeader takes bytes of the header, and returns the bytes that follow it.
func (s *Session) readProxyHeader(b []byte, accepted uint32) (rest []byte) {
	srv := s.srv()
	x := s.extend()
	if x.gathering == nil {
		x.gathering = &gathering{arrived: accepted}
	}
	g := x.gathering
	before := g.held()
	h, rest, err := s.proxyHeader(g, b)
	if !srv.memory.Hold(before, g.held(), limit.ForRequest()) && rest == nil && err == nil {
		srv.stats.ShortOfMemory.Add(1)
		err = handshake.ErrNoMemory
	}
	if rest != nil {
		err = s.announced(h)
	}
	switch {
	case err != nil:
		s.reject(err, nil)
		return nil
	case rest == nil || !s.enter(readingRequest, 0):
		return nil
	}
	return rest
}

// proxyHeader parses the header in what has arrived. Until it is complete rest is nil, and g
// keeps b. Where crypto/tls reads the connection, the header was parsed before.
func (s *Session) proxyHeader(g *gathering, b []byte) (h proxyproto.Header, rest []byte, err error) {
	if tc, ok := s.conn.NetConn().(*secure.Conn); ok {
		if pc, ok := tc.NetConn().(*proxyproto.Conn); ok {
			return pc.Header(), b, nil
		}
	}
	if h, g.proxy, rest, err = proxyproto.Take(g.proxy, b); err != nil {
		err = s.srv().badProxyHeader(err)
	}
	return h, rest, err
}

// announced takes over what the header says: who the client is, under whose address the
// connection counts. A connection that is the proxy's own counts like one without a proxy.
func (s *Session) announced(h proxyproto.Header) (err error) {
	srv := s.srv()
	var client, counted netip.Addr
	if h.Client.IsValid() {
		s.setClient(h.Client)
		client = h.Client.Addr()
		counted = limit.CountedAddr(client)
	} else {
		client = s.conn.RemoteAddr().Addr()
		counted = limit.PeerAddr(client)
	}
	if srv.trusted(client) {
		return nil // its request will name the client
	}
	s.source, err = srv.enterSource(counted)
	return err
}

// badProxyHeader counts a connection of a proxy whose header is missing or malformed, and
// returns the rejection.
func (srv *Server) badProxyHeader(err error) *Rejection {
	srv.stats.ProxyHeaders.Add(1)
	return proxyproto.Reject(err, field.Setting(srv.cfg.FieldName, "ProxyProtocol"))
}

// rejectProxyHeader rejects a header from an address that is not a proxy.
func (srv *Server) rejectProxyHeader() *Rejection {
	srv.stats.ProxyHeaders.Add(1)
	return proxyproto.RejectUnknown(field.Setting(srv.cfg.FieldName, "ProxyProtocol"))
}

// proxied returns a listener that reads the headers of connections that crypto/tls reads with
// a goroutine.
func (srv *Server) proxied(ln net.Listener) net.Listener {
	return &proxyproto.Listener{Listener: ln, Announces: srv.announces, Failed: func(peer netip.Addr, err error) {
		r := srv.badProxyHeader(err)
		srv.stats.Reject(r.Status)
		srv.rejectLog.Note(r, peer, nil)
	}}
}

// Preface reads the header that precedes the ClientHello.
func (o tlsOwner) Preface(b []byte) (n int, err error) {
	s := o.s
	if s.phase() != readingProxyHeader {
		if proxyproto.Announced(b) {
			return 0, s.srv().rejectProxyHeader()
		}
		return 0, nil
	}
	h, n, err := proxyproto.Parse(b)
	switch {
	case err != nil:
		return 0, s.srv().badProxyHeader(err)
	case n == 0:
		return -1, nil
	}
	if err := s.announced(h); err != nil {
		return 0, err
	}
	s.enter(readingRequest, 0)
	return n, nil
}

// RemoteAddr is the client's address.
func (o tlsOwner) RemoteAddr() netip.AddrPort { return o.s.RemoteAddr() }

// namingClient returns nc with the address that the header has named as RemoteAddr, if any,
// for net/http.
func (s *Session) namingClient(nc net.Conn) net.Conn {
	if x := s.ext.Load(); x != nil && x.client.valid {
		return proxyproto.Named(nc, x.client.addrPort())
	}
	return nc
}

// clientAddr is an address in 20 bytes, instead of the 32 of a netip.AddrPort. The zero
// value means that there is none.
type clientAddr struct {
	ip    [16]byte
	port  uint16
	valid bool
}

func (c clientAddr) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(c.ip).Unmap(), c.port)
}

// keepClient keeps the address of a client that connects through a proxy. Most addresses
// are those of the session's source; others, of IPv6 or with a port, need an extension.
// Called before the session is open.
func (s *Session) keepClient(client netip.AddrPort) {
	switch {
	case !client.IsValid():
	case client.Port() == 0 && s.source != nil && s.source.Addr() == client.Addr():
		s.state.Or(proxiedBit)
	default:
		s.setClient(client)
	}
}

func (s *Session) setClient(client netip.AddrPort) {
	x := s.extend()
	x.mu.Lock()
	x.client = clientAddr{client.Addr().As16(), client.Port(), true}
	x.mu.Unlock()
}

// RemoteAddr is the client's address: the one that a proxy of Config.TrustedProxies
// names, whose port is 0 unless the proxy names that too, or the peer's. It is the zero
// AddrPort for a Unix socket. When the connection is over, and Hooks.OnClose is nil, a
// peer's address is not known any more.
func (s *Session) RemoteAddr() netip.AddrPort {
	if s.state.Load()&proxiedBit != 0 {
		return netip.AddrPortFrom(s.source.Addr(), 0)
	}
	if x := s.ext.Load(); x != nil {
		x.mu.Lock()
		client := x.client
		x.mu.Unlock()
		if client.valid {
			return client.addrPort()
		}
	}
	return s.conn.RemoteAddr()
}
