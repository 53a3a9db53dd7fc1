package server

import "net/netip"

// clientAddr is a client's address where it is not the peer's, in 20 bytes instead of
// the 32 of a netip.AddrPort. The zero value is none.
type clientAddr struct {
	ip    [16]byte
	port  uint16
	valid bool
}

func (c clientAddr) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(c.ip).Unmap(), c.port)
}

// keepClient keeps the address of a client that comes through a proxy. Its source has
// most of them already; the rest, those of IPv6 and those with a port, need an extension.
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
