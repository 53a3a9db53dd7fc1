package server

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"fanfare/server/internal/field"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/proxyproto"
	"fanfare/server/internal/secure"
)

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
		srv.stats.shortOfMemory.Add(1)
		err = errNoMemory
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
	all := b
	if len(g.proxy) > 0 {
		all = append(g.proxy, b...)
	}
	g.proxy = nil
	h, n, err := proxyproto.Parse(all)
	switch {
	case err != nil:
		return h, nil, s.srv().badProxyHeader(err)
	case n == 0:
		g.proxy = append([]byte(nil), all...)
		return h, nil, nil
	}
	return h, b[len(b)-(len(all)-n):], nil
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
	srv.stats.proxyHeaders.Add(1)
	setting := field.Setting(srv.cfg.FieldName, "ProxyProtocol")
	if errors.Is(err, proxyproto.ErrNone) {
		return &Rejection{
			Status: http.StatusBadRequest,
			Text:   "a connection from this address begins with a PROXY protocol header: have the proxy send it, or take its address out of " + setting,
			Reason: "PROXY protocol header missing",
		}
	}
	return &Rejection{Status: http.StatusBadRequest, Text: err.Error(), Reason: "PROXY protocol header malformed"}
}

// rejectProxyHeader rejects a header from an address that is not a proxy: believing it
// would let any client choose its address.
func (srv *Server) rejectProxyHeader() *Rejection {
	srv.stats.proxyHeaders.Add(1)
	return &Rejection{
		Status: http.StatusBadRequest,
		Text:   "a PROXY protocol header came from an address that is not in " + field.Setting(srv.cfg.FieldName, "ProxyProtocol"),
		Reason: "PROXY protocol header from an unknown proxy",
	}
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

// proxyListener reads the headers of connections that crypto/tls reads with a goroutine.
type proxyListener struct {
	net.Listener
	srv *Server
}

func (l proxyListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	peer, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok || !l.srv.announces(peer.AddrPort().Addr().Unmap()) {
		return nc, nil
	}
	return proxyproto.NewConn(nc, func(err error) {
		r := l.srv.badProxyHeader(err)
		l.srv.stats.reject(r.Status)
		l.srv.rejectLog.Note(r, peer.AddrPort().Addr().Unmap(), nil)
	}), nil
}

// namingClient returns nc with the address that the header has named as RemoteAddr, if any,
// for net/http.
func (s *Session) namingClient(nc net.Conn) net.Conn {
	if x := s.ext.Load(); x != nil && x.client.valid {
		return namedConn{nc, net.TCPAddrFromAddrPort(x.client.addrPort())}
	}
	return nc
}

type namedConn struct {
	net.Conn
	client *net.TCPAddr
}

func (c namedConn) RemoteAddr() net.Addr { return c.client }
