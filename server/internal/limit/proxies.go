package limit

import (
	"iter"
	"net/netip"
	"strings"
)

// Proxies are the load balancers whose X-Forwarded-For, or Forwarded, is believed.
type Proxies []netip.Prefix

// Contain reports whether addr is one of them.
func (ps Proxies) Contain(addr netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Client finds the client in the members of X-Forwarded-For, or in the nodes of Forwarded: the
// last address that is not one of ps. The members before it are the client's own claims. It
// returns the zero AddrPort if there is none, or if that member is not an address, such as
// "unknown". The port is 0 unless the proxy names it.
func (ps Proxies) Client(members iter.Seq[[]byte]) (last netip.AddrPort) {
	for member := range members {
		if addr := ParseAddrPort(string(member)); !ps.Contain(addr.Addr()) {
			last = addr
		}
	}
	return last
}

// ParseAddrPort reads "address:port" or a bare address, which is what middleware that
// believes a proxy puts into http.Request.RemoteAddr, and what proxies write, some
// with brackets around a bare IPv6 address. It returns the zero AddrPort for anything
// else.
func ParseAddrPort(s string) netip.AddrPort {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	// RFC 7239 section 6: a proxy may hide the port, in a name that begins with "_".
	if i := strings.LastIndex(s, ":_"); i >= 0 {
		s = s[:i]
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 0)
	}
	return netip.AddrPort{}
}
