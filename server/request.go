package server

import (
	"bytes"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"slices"
)

// Request is the opening handshake of a client, RFC 6455 section 4.1. It is
// borrowed until Identify returns; the strings it hands out are copies.
type Request struct {
	method, target, version []byte
	host                    []byte // of an absolute target
	path, query             []byte // of target, still percent-encoded
	headers                 []header
	session                 *Session       // whose it is; nil: another server has read it
	peer                    netip.AddrPort // if it has
}

// header fields are slices of the request.
type header struct{ name, value []byte }

// Path of the request, without the query.
func (r *Request) Path() string { return string(r.path) }

// RemoteAddr is the peer's address; the zero AddrPort for a Unix socket.
func (r *Request) RemoteAddr() netip.AddrPort {
	if r.session != nil {
		return r.session.RemoteAddr()
	}
	return r.peer
}

// Header returns the first field of that name, in any casing; empty if none.
func (r *Request) Header(name string) string {
	v, _ := r.field(name)
	return string(v)
}

// Query returns the first parameter of that name, decoded; empty if none.
func (r *Request) Query(name string) string {
	for v := range r.params(name) {
		return v
	}
	return ""
}

// QueryAll returns all parameters of that name, decoded, in order.
func (r *Request) QueryAll(name string) []string {
	return slices.Collect(r.params(name))
}

// params walks the values of a parameter. A pair that is not well
// percent-encoded is left out, as net/url does.
func (r *Request) params(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k, v := range r.pairs {
			if !matches(k, name) {
				continue
			}
			if value, err := unescape(v); err == nil && !yield(value) {
				return
			}
		}
	}
}

// pairs walks the names and values of the query, as they are encoded.
func (r *Request) pairs(yield func(k, v []byte) bool) {
	rest := r.query
	for len(rest) > 0 {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte("&"))
		if k, v, _ := bytes.Cut(pair, []byte("=")); !yield(k, v) {
			return
		}
	}
}

// matches compares without copying what is not encoded.
func matches(k []byte, name string) bool {
	if !bytes.ContainsAny(k, "%+") {
		return string(k) == name
	}
	decoded, err := url.QueryUnescape(string(k))
	return err == nil && decoded == name
}

func unescape(b []byte) (string, error) {
	if !bytes.ContainsAny(b, "%+") {
		return string(b), nil
	}
	return url.QueryUnescape(string(b))
}

// field returns the first field of that name and how many there are.
func (r *Request) field(name string) (value []byte, n int) {
	for _, h := range r.headers {
		if equalFold(h.name, name) {
			if n == 0 {
				value = h.value
			}
			n++
		}
	}
	return value, n
}

// authority is the host that the client wants to talk to.
func (r *Request) authority() []byte {
	if r.host != nil {
		return r.host
	}
	host, _ := r.field("Host")
	return host
}

// hasToken tells whether a list field (RFC 9110, 5.6.1), which may be repeated,
// has a member, in any casing.
func (r *Request) hasToken(name, token string) bool {
	for member := range r.list(name) {
		if equalFold(member, token) {
			return true
		}
	}
	return false
}

// list walks the members of a list field.
func (r *Request) list(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, h := range r.headers {
			if !equalFold(h.name, name) {
				continue
			}
			rest := h.value
			for len(rest) > 0 {
				var member []byte
				member, rest, _ = bytes.Cut(rest, []byte(","))
				if member = bytes.Trim(member, " \t"); len(member) > 0 && !yield(member) {
					return
				}
			}
		}
	}
}

// maxHeaders bounds the fields of a request; browsers send about twenty.
const maxHeaders = 100

var (
	errRequestLine = Refuse(400, "malformed request line")
	errVersion     = Refuse(505, "this server speaks HTTP/1.1")
)

// parse reads a request up to and including its empty line. It is strict where
// leniency helps smuggling: CRLF only, no folding, no space before the colon.
func (r *Request) parse(head []byte) error {
	line, rest, ok := bytes.Cut(head, crlf)
	if !ok {
		return Refuse(400, "the request has no request line")
	}
	r.headers = r.headers[:0]
	r.method, line, ok = bytes.Cut(line, space)
	if !ok || !isTokenBytes(r.method) {
		return errRequestLine
	}
	r.target, r.version, ok = bytes.Cut(line, space)
	if !ok || !isVersion(r.version) {
		return errRequestLine
	}
	if r.version[len("HTTP/")] != '1' {
		return errVersion
	}
	if !r.parseTarget() {
		return errRequestLine
	}
	for {
		line, rest, ok = bytes.Cut(rest, crlf)
		if !ok {
			return Refuse(400, "the request has no end")
		}
		if len(line) == 0 {
			return nil
		}
		if len(r.headers) == maxHeaders {
			return Refuse(431, fmt.Sprintf("more than %d header fields", maxHeaders))
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isTokenBytes(name) {
			return Refuse(400, "malformed header field")
		}
		value = bytes.Trim(value, " \t")
		if !isFieldValue(value) {
			return Refuse(400, "control character in a header field")
		}
		r.headers = append(r.headers, header{name, value})
	}
}

// parseTarget takes the request's target apart, which RFC 6455 section 4.1 wants
// to be a path or an absolute URI.
func (r *Request) parseTarget() bool {
	if !isTarget(r.target) {
		return false
	}
	host, rest, ok := absoluteForm(r.target)
	switch {
	case ok && !isHost(host):
		return false
	case !ok && rest[0] != '/' && (string(rest) != "*" || string(r.method) != "OPTIONS"): // RFC 9112, 3.2.4
		return false
	}
	r.host = host
	r.path, r.query, _ = bytes.Cut(rest, []byte("?"))
	if len(r.path) == 0 {
		r.path = slash
	}
	return true
}

// absoluteForm takes a target like http://host/path apart. RFC 9112 section
// 3.2.2: a server accepts it and ignores the Host field. What has another form
// comes back as it is.
func absoluteForm(target []byte) (host, rest []byte, ok bool) {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
		return nil, target, false
	}
	n := bytes.IndexAny(rest, "/?")
	if n < 0 {
		n = len(rest)
	}
	return rest[:n], rest[n:], true
}

// originForm is the path and query of a target.
func originForm(target []byte) []byte {
	_, rest, _ := absoluteForm(target)
	return rest
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
	slash = []byte("/")
)
