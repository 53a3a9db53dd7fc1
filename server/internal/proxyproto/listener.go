package proxyproto

import (
	"net"
	"net/netip"
)

// Listener reads the headers of the connections that come from proxies.
type Listener struct {
	net.Listener
	// Announces reports whether connections of a peer begin with a header.
	Announces func(peer netip.Addr) bool
	// Failed is called if the header of a connection is missing or malformed.
	Failed func(peer netip.Addr, err error)
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	addr, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nc, nil
	}
	peer := addr.AddrPort().Addr().Unmap()
	if !l.Announces(peer) {
		return nc, nil
	}
	return NewConn(nc, func(err error) { l.Failed(peer, err) }), nil
}

// Named returns nc with the address that its header has named as RemoteAddr.
func Named(nc net.Conn, client netip.AddrPort) net.Conn {
	return named{nc, net.TCPAddrFromAddrPort(client)}
}

type named struct {
	net.Conn
	client *net.TCPAddr
}

func (n named) RemoteAddr() net.Addr { return n.client }
