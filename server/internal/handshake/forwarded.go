package handshake

import (
	"bytes"
	"net/http"
)

// Hop is what one proxy says in the Forwarded field, RFC 7239: from whom it received the
// request, and for which host. Both are empty where the proxy does not say.
type Hop struct{ For, Host string }

var errForwarded = Reject(http.StatusBadRequest, "malformed Forwarded field (RFC 7239 section 4)")

// Forwarded returns the elements of the Forwarded fields, in the order of the proxies on the
// way. A malformed field is an error, because a quote that a client has left open would
// contain what the proxies append.
func (r *Request) Forwarded() (hops []Hop, err error) {
	for _, f := range r.Fields {
		if !EqualFold(f.Name, "Forwarded") {
			continue
		}
		if hops, err = appendHops(hops, f.Value); err != nil {
			return nil, err
		}
	}
	return hops, nil
}

// appendHops parses a field, RFC 7239 section 4:
//
//	Forwarded         = 1#forwarded-element
//	forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//	forwarded-pair    = token "=" ( token / quoted-string )
//
// It also accepts the colons and brackets of an address without quotes, which some proxies
// leave out, and white space around the separators.
func appendHops(hops []Hop, b []byte) ([]Hop, error) {
	var hop Hop
	var seen map[string]bool // names of the element's pairs
	for {
		b = trimLeft(b)
		if len(b) > 0 && b[0] != ',' && b[0] != ';' {
			name, rest, ok := bytes.Cut(b, []byte("="))
			if !ok || !isToken(name) {
				return nil, errForwarded
			}
			value, rest, ok := forwardedValue(rest)
			key := string(bytes.ToLower(name))
			if !ok || seen[key] { // "Each parameter MUST NOT occur more than once"
				return nil, errForwarded
			}
			if seen == nil {
				seen = make(map[string]bool)
			}
			seen[key] = true
			switch key {
			case "for":
				hop.For = value
			case "host":
				hop.Host = value
			}
			b = trimLeft(rest)
		}
		if len(b) > 0 && b[0] == ';' {
			b = b[1:]
			continue
		}
		if len(seen) > 0 { // empty members of a list are ignored, RFC 9110, 5.6.1.2
			hops = append(hops, hop)
		}
		if len(b) == 0 {
			return hops, nil
		}
		if b[0] != ',' {
			return nil, errForwarded
		}
		hop, seen, b = Hop{}, nil, b[1:]
	}
}

func trimLeft(b []byte) []byte { return bytes.TrimLeft(b, " \t") }

// forwardedValue returns the value at the beginning of b, and what follows it.
func forwardedValue(b []byte) (value string, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '"' {
		return quotedString(b[1:])
	}
	n := 0
	for n < len(b) && (isToken(b[n:n+1]) || b[n] == ':' || b[n] == '[' || b[n] == ']') {
		n++
	}
	return string(b[:n]), b[n:], n > 0
}

// quotedString reads a quoted-string after its first quote, RFC 9110, 5.6.4.
func quotedString(b []byte) (value string, rest []byte, ok bool) {
	var text []byte
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return string(text), b[i+1:], true
		case '\\':
			if i++; i == len(b) {
				return "", nil, false
			}
		}
		text = append(text, b[i])
	}
	return "", nil, false
}
