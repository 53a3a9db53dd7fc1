package handshake

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"fanfare/server/internal/field"
)

// Origins are the origins of pages that may connect in addition to those of the same host:
// serialized origins (RFC 6454, 6.2) such as "https://app.example.com", "null" or
// "capacitor://localhost"; "scheme://*.host", which matches any name below host; and
// "*".
type Origins []string

// ValidateOrigin checks one of Origins.
func ValidateOrigin(p string) error {
	if p == "*" || p == "null" {
		return nil
	}
	scheme, rest, ok := strings.Cut(p, "://")
	valid := ok && validScheme(scheme)
	if rest = strings.TrimPrefix(rest, "*."); rest != "" { // file:// has no host
		u, err := url.Parse(scheme + "://" + rest)
		valid = valid && err == nil && u.Host == rest && !strings.Contains(rest, "*") && !strings.HasSuffix(rest, ":")
	} else {
		valid = valid && !strings.HasSuffix(p, "*.") && defaultPort([]byte(scheme)) == ""
	}
	if !valid {
		return fmt.Errorf("allowed origin %q: want scheme://host[:port], scheme://*.host, null or *", p)
	}
	return nil
}

// validScheme checks a scheme, RFC 3986 section 3.1.
func validScheme(s string) bool {
	for i, c := range []byte(s) {
		if letter := 'a' <= lower(c) && lower(c) <= 'z'; !letter && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// Check decides whether the page that makes the request may connect, RFC 6455 section
// 10.2: a browser names the page's origin, and any page of any site can make it connect
// here with the user's cookies. Pages of the host that the request was sent to may, and
// those of Origins. A client that is not a browser sends no Origin, or any that it likes.
//
// hosts are what the request's host is called: its authority and, if a trusted proxy
// rewrites that, what it was before. The scheme is not compared: behind a proxy that
// terminates TLS the server does not know its own. name is Config.FieldName.
func (o Origins) Check(r *Request, name func(field string) string, hosts ...[]byte) error {
	origin, n := r.Field("Origin")
	if n == 0 {
		return nil
	}
	if n > 1 { // RFC 6454, 7.3: "MUST NOT include more than one"
		return Reject(http.StatusForbidden, "want one Origin field")
	}
	for _, pattern := range o {
		if matchOrigin(pattern, origin) {
			return nil
		}
	}
	scheme, rest, ok := bytes.Cut(origin, []byte("://"))
	port := defaultPort(scheme)
	nearly := false
	if ok && port != "" { // file: and extensions of browsers have no host to compare
		for _, host := range hosts {
			if EqualFold(bytes.TrimSuffix(rest, []byte(port)), string(bytes.TrimSuffix(host, []byte(port)))) {
				return nil
			}
			nearly = nearly || EqualFold(hostname(rest), string(hostname(host)))
		}
	}
	return rejectOrigin(origin, hosts, nearly, field.Setting(name, "AllowOrigins"))
}

// defaultPort returns the port that a serialized origin leaves out, with its colon.
func defaultPort(scheme []byte) string {
	switch {
	case EqualFold(scheme, "http"):
		return ":80"
	case EqualFold(scheme, "https"):
		return ":443"
	}
	return ""
}

// hostname returns host without its port.
func hostname(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

// rejectOrigin explains what the origin was compared with.
func rejectOrigin(origin []byte, hosts [][]byte, nearly bool, setting string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "pages of origin %s may not connect: it is not that of host ", Quote(origin))
	for i, host := range hosts {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(Quote(host))
	}
	b.WriteString(", and the allowed origins (" + setting + ") do not contain it")
	if nearly {
		b.WriteString(" (only the port differs: a proxy may forward Host without it)")
	}
	return &Rejection{Status: http.StatusForbidden, Text: b.String(), Reason: "origin not allowed"}
}

// Quote quotes what a client has sent, for texts and logs: at most 128 bytes, as
// printable ASCII.
func Quote(b []byte) string {
	const most = 128
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}

func matchOrigin(pattern string, origin []byte) bool {
	if pattern == "*" {
		return true
	}
	if scheme, _, ok := strings.Cut(pattern, "://"); ok { // default ports may be named or not
		port := defaultPort([]byte(scheme))
		pattern = strings.TrimSuffix(pattern, port)
		if given, _, _ := bytes.Cut(origin, []byte("://")); EqualFold(given, scheme) {
			origin = bytes.TrimSuffix(origin, []byte(port))
		}
	}
	if EqualFold(origin, pattern) {
		return true
	}
	before, after, ok := strings.Cut(pattern, "*")
	if !ok || len(origin) <= len(before)+len(after) {
		return false
	}
	end := len(origin) - len(after)
	if !EqualFold(origin[:len(before)], before) || !EqualFold(origin[end:], after) {
		return false
	}
	for _, c := range origin[len(before):end] {
		// Only labels of a host name may stand for the *.
		if l := lower(c); !('a' <= l && l <= 'z' || isDigit(c) || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}
