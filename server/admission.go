package server

import (
	"net/netip"

	"fanfare/frame"
	"fanfare/server/internal/limit"
)

// admits decides about a connection that has just been accepted from peer.
func (srv *Server) admits(peer netip.Addr) (src *limit.Source, ok bool) {
	if srv.memory.Short() {
		srv.stats.pressed.Add(1)
		return nil, false
	}
	if srv.trusted(peer) {
		return nil, true // its request will name the client
	}
	if src, ok = srv.sources.Enter(limit.PeerAddr(peer), srv.cfg.ConnectionsPerIP); !ok {
		srv.stats.crowded.Add(1)
	}
	return src, ok
}

// screen checks a complete request against the rates of handshakes, and against the
// connections of its address where a proxy has hidden that until now.
func (srv *Server) screen(s *Session, r *Request) error {
	if s.source == nil && len(srv.cfg.TrustedProxies) > 0 {
		if peer := s.RemoteAddr().Addr(); srv.trusted(peer) {
			src, err := srv.enter(srv.behindProxy(peer, r))
			if err != nil {
				return err
			}
			s.source = src
		}
	}
	return srv.pace(s.source)
}

// enter counts a connection whose request is known.
func (srv *Server) enter(addr netip.Addr) (*limit.Source, error) {
	src, ok := srv.sources.Enter(addr, srv.cfg.ConnectionsPerIP)
	if !ok {
		srv.stats.crowded.Add(1)
		return nil, &Refusal{Status: 429, Text: "too many connections from this address", header: "Retry-After: 30\r\n"}
	}
	return src, nil
}

// pace counts a handshake.
func (srv *Server) pace(src *limit.Source) error {
	now := srv.tick.Load()
	if !src.Handshake(srv.cfg.HandshakesPerIP, now) {
		srv.stats.hurried.Add(1)
		return &Refusal{Status: 429, Text: "too many handshakes from this address", header: "Retry-After: 5\r\n"}
	}
	if !srv.shakes.Take(1, int64(srv.cfg.HandshakeRate), now) {
		srv.stats.hurried.Add(1)
		return &Refusal{Status: 503, Text: "too many handshakes at once", header: "Retry-After: 1\r\n"}
	}
	return nil
}

func (srv *Server) trusted(addr netip.Addr) bool {
	return limit.Proxies(srv.cfg.TrustedProxies).Contain(addr)
}

// behindProxy is the address under which a request is counted that a trusted proxy has
// passed on: that of the client, or of the proxy if it does not name one. It may be
// loopback, so that no way through a proxy is without a limit.
func (srv *Server) behindProxy(proxy netip.Addr, r *Request) netip.Addr {
	if client := srv.forwarded(r).Addr(); client.IsValid() {
		return limit.CountedAddr(client)
	}
	return limit.CountedAddr(proxy)
}

// forwarded is the client's address as the trusted proxies tell it.
func (srv *Server) forwarded(r *Request) netip.AddrPort {
	return limit.Proxies(srv.cfg.TrustedProxies).Client(r.list("X-Forwarded-For"))
}

// errPressed is 1013, "try again later".
var errPressed = &frame.CloseError{Code: frame.StatusTryAgainLater, Reason: "the server is short of memory"}

// errNoMemory is sent to a client whose request is not complete.
var errNoMemory = &Refusal{Status: 503, Text: "the server is short of memory, try again later", header: "Retry-After: 5\r\n"}

// depart takes a connection out of the counts.
func (srv *Server) depart(s *Session) {
	s.source.Leave()
	srv.connections.Add(-1)
}
