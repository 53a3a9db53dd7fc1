package server

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"fanfare/server/internal/handshake"
)

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

	params   []parameter // of the query, that were asked for
	anyQuery bool        // the query may have other parameters, too
	mayBlock bool
}

// reset clears the request and keeps its memory.
func (r *Request) reset() {
	r.head.Reset()
	clear(r.params)
	*r = Request{head: r.head, params: r.params[:0]}
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
	r.ask(name, false)
	for v := range r.head.Params(name) {
		return v
	}
	return ""
}

// QueryAll returns all query parameters of that name, decoded, in order.
func (r *Request) QueryAll(name string) []string {
	r.ask(name, true)
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
	r.anyQuery = r.anyQuery || r.hosted != nil
	return r.hosted
}

// The rest of this file rejects handshakes whose query has a parameter without effect:
// because of a misspelled one a client would silently lose its topic or its position. The
// parameters with an effect are those that Identifier and dialect have asked for, by
// Request.Query and QueryAll.

// parameter is a query parameter that was asked for.
type parameter struct {
	name  string
	many  bool // it may be repeated
	found bool
}

// ask notes that a parameter has an effect.
func (r *Request) ask(name string, many bool) {
	for i := range r.params {
		if p := &r.params[i]; p.name == name {
			p.many = p.many || many
			return
		}
	}
	r.params = append(r.params, parameter{name: name, many: many})
}

// asked returns the parameter of that name, nil if it was not asked for.
func (r *Request) asked(name []byte) *parameter {
	for i := range r.params {
		if r.params[i].name == string(name) {
			return &r.params[i]
		}
	}
	return nil
}

// checkQuery rejects a request that has a parameter that was not asked for, one that is
// repeated and must not be, or one that is malformed. It looks at no more parameters than
// were asked for.
func (ep *endpoint) checkQuery(r *Request, d Dialect) error {
	if r.anyQuery {
		return nil
	}
	for k, v := range r.head.Pairs {
		name, err := unescape(k)
		if err == nil {
			_, err = unescape(v)
		}
		if err != nil {
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote(k) + ": malformed percent-encoding",
				Reason: "malformed percent-encoding in the query",
			}
		}
		p := r.asked(name)
		switch {
		case p == nil && len(name)+len(v) == 0: // "&&"
		case p == nil && Covers(ep.AllowQuery, string(name)):
		case p == nil:
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote(name) + " has no effect in a handshake " + spokenIn(d) + ": " + r.expected(),
				Reason: "query parameter without effect",
			}
		case p.found && !p.many:
			return handshake.RepeatedParam(string(name))
		default:
			p.found = true
		}
	}
	return nil
}

// unescape is handshake.Unescape without a copy where nothing is encoded.
func unescape(b []byte) ([]byte, error) {
	if !bytes.ContainsAny(b, "%+") {
		return b, nil
	}
	s, err := handshake.Unescape(b)
	return []byte(s), err
}

// spokenIn says what a dialect's clients offer in their handshake.
func spokenIn(d Dialect) string {
	if p := d.Protocol(); p != "" {
		return "with the sub-protocol " + p
	}
	return "without a sub-protocol"
}

// Unread returns the names of up to four query parameters that Query and QueryAll were not
// asked for so far, quoted. It is for the text of an Identifier that misses a parameter, which
// may be misspelled.
func (r *Request) Unread() (names []string) {
	for k := range r.head.Pairs {
		name, err := unescape(k)
		if err != nil {
			name = k
		}
		if quoted := handshake.Quote(name); len(name) > 0 && r.asked(name) == nil && !slices.Contains(names, quoted) {
			if names = append(names, quoted); len(names) == maxUnread {
				break
			}
		}
	}
	return names
}

const maxUnread = 4

// expected lists the parameters that were asked for. Those of single topics are left out.
func (r *Request) expected() string {
	var names []string
	for _, p := range r.params {
		if !strings.Contains(p.name, ".") {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return "want no parameters"
	}
	slices.Sort(names)
	return "want " + strings.Join(names, ", ")
}

// clientAddr is an address in 20 bytes, instead of the 32 of a netip.AddrPort. The zero
// value is no address.
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
