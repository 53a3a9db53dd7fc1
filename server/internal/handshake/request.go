package handshake

import (
	"bytes"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

// Request is an opening handshake, RFC 6455 section 4.1. Its slices are borrowed from
// the bytes that Parse was given.
type Request struct {
	Method, Version []byte
	Path, Query     []byte // of the target, still percent-encoded
	Fields          []Field

	host []byte // of an absolute target
}

// Field is a header field.
type Field struct{ Name, Value []byte }

// MaxFields bounds the header fields of a request; browsers send about twenty.
const MaxFields = 100

var (
	errRequestLine = Reject(http.StatusBadRequest, "malformed request line")
	errVersion     = Reject(http.StatusHTTPVersionNotSupported, "want HTTP/1.1")
	errFields      = Reject(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("more than %d header fields", MaxFields))
)

// Reset forgets the request but keeps the memory for fields.
func (r *Request) Reset() {
	clear(r.Fields)
	*r = Request{Fields: r.Fields[:0]}
}

// Parse reads a request up to and including the empty line at its end.
func (r *Request) Parse(head []byte) error {
	r.Reset()
	line, rest, ok := bytes.Cut(bytes.TrimPrefix(head, crlf), crlf) // RFC 9112, 2.2: "SHOULD ignore at least one empty line"
	if !ok {
		return errRequestLine
	}
	r.Method, line, ok = bytes.Cut(line, space)
	if !ok || !isToken(r.Method) {
		return errRequestLine
	}
	target, version, ok := bytes.Cut(line, space)
	if !ok || !isVersion(version) {
		return errRequestLine
	}
	if r.Version = version; version[len("HTTP/")] != '1' {
		return errVersion
	}
	if !r.parseTarget(target) {
		return errRequestLine
	}
	for {
		line, rest, ok = bytes.Cut(rest, crlf)
		if !ok {
			return Reject(http.StatusBadRequest, "the request has no end")
		}
		if len(line) == 0 {
			return nil
		}
		if len(r.Fields) == MaxFields {
			return errFields
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) { // no space before the colon, RFC 9112 section 5.1, no folding, 5.2
			return Reject(http.StatusBadRequest, "malformed header field")
		}
		value = bytes.Trim(value, " \t")
		if !isFieldValue(value) {
			return Reject(http.StatusBadRequest, "control character in a header field")
		}
		r.Fields = append(r.Fields, Field{name, value})
	}
}

// parseTarget takes the target apart, which RFC 6455 section 4.1 wants to be a path or
// an absolute URI.
func (r *Request) parseTarget(target []byte) bool {
	if !isTarget(target) {
		return false
	}
	host, rest, ok := CutAbsolute(target)
	switch {
	case ok && !IsHost(host):
		return false
	case !ok && rest[0] != '/' && (string(rest) != "*" || string(r.Method) != "OPTIONS"): // RFC 9112, 3.2.4
		return false
	}
	r.host = host
	r.Path, r.Query, _ = bytes.Cut(rest, []byte("?"))
	if len(r.Path) == 0 {
		r.Path = slash
	}
	return true
}

// CutAbsolute cuts the host off a target like http://host/path. RFC 9112 section 3.2.2:
// a server accepts such a target and ignores the Host field. A target of another form
// comes back as rest.
func CutAbsolute(target []byte) (host, rest []byte, ok bool) {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !EqualFold(scheme, "http") && !EqualFold(scheme, "https") {
		return nil, target, false
	}
	n := bytes.IndexAny(rest, "/?")
	if n < 0 {
		n = len(rest)
	}
	return rest[:n], rest[n:], true
}

// Add adds a field to a request that was not parsed here.
func (r *Request) Add(name, value string) {
	r.Fields = append(r.Fields, Field{[]byte(name), []byte(value)})
}

// Field returns the first field of that name, in any case, and how many there are.
func (r *Request) Field(name string) (value []byte, n int) {
	for _, f := range r.Fields {
		if EqualFold(f.Name, name) {
			if n == 0 {
				value = f.Value
			}
			n++
		}
	}
	return value, n
}

// Authority returns the host that the client wants to reach, with its port if named.
func (r *Request) Authority() []byte {
	if r.host != nil {
		return r.host
	}
	host, _ := r.Field("Host")
	return host
}

// IsUpgrade reports whether the request asks for WebSocket. If not, it is ordinary HTTP.
func (r *Request) IsUpgrade() bool { return r.HasToken("Upgrade", "websocket") }

// HasToken reports whether a list field (RFC 9110, 5.6.1), which may be repeated, has a
// member, in any case.
func (r *Request) HasToken(name, token string) bool {
	for member := range r.List(name) {
		if EqualFold(member, token) {
			return true
		}
	}
	return false
}

// List iterates over the members of a list field.
func (r *Request) List(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, f := range r.Fields {
			if !EqualFold(f.Name, name) {
				continue
			}
			rest := f.Value
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

// Cookie returns the value of the first cookie of that name, RFC 6265 section 4.2. The
// quotes that a value may have are part of it.
func (r *Request) Cookie(name string) (value []byte, ok bool) {
	for _, f := range r.Fields {
		if !EqualFold(f.Name, "Cookie") {
			continue
		}
		rest := f.Value
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			k, v, has := bytes.Cut(bytes.Trim(pair, " \t"), []byte("="))
			if has && string(k) == name {
				return v, true
			}
		}
	}
	return nil, false
}

// Params iterates over the values of a query parameter, decoded. A pair that is not
// well percent-encoded is left out, as net/url does.
func (r *Request) Params(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k, v := range r.Pairs {
			if !matches(k, name) {
				continue
			}
			if value, err := Unescape(v); err == nil && !yield(value) {
				return
			}
		}
	}
}

// Pairs iterates over the names and values of the query, as they are encoded.
func (r *Request) Pairs(yield func(k, v []byte) bool) {
	rest := r.Query
	for len(rest) > 0 {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte("&"))
		if k, v, _ := bytes.Cut(pair, []byte("=")); !yield(k, v) {
			return
		}
	}
}

// matches compares without a copy where nothing is encoded.
func matches(k []byte, name string) bool {
	if !bytes.ContainsAny(k, "%+") {
		return string(k) == name
	}
	decoded, err := url.QueryUnescape(string(k))
	return err == nil && decoded == name
}

// Unescape decodes a name or value of the query.
func Unescape(b []byte) (string, error) {
	if !bytes.ContainsAny(b, "%+") {
		return string(b), nil
	}
	return url.QueryUnescape(string(b))
}
