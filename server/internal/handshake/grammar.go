package handshake

import (
	"bytes"
	"net/netip"
	"strconv"

	"golang.org/x/net/http/httpguts"
)

// EqualFold compares ASCII without case, as protocols want it. strings.EqualFold also
// finds "web\u017focket" equal to "websocket".
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken checks a token, RFC 9110 section 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return len(b) > 0
}

// ValidProtocol checks the name of a sub-protocol, RFC 6455 section 4.1 item 10.
func ValidProtocol(name string) bool { return httpguts.ValidHeaderFieldName(name) } // the grammar is that of a token

// isUpgradeProtocol reports whether b is a protocol name, with or without a version (RFC
// 9110 section 7.8).
func isUpgradeProtocol(b []byte) bool {
	name, version, has := bytes.Cut(b, slash)
	return isToken(name) && (!has || isToken(version))
}

// isTarget checks a request target: it rejects spaces, control characters, and the
// fragment that RFC 6455 section 3 forbids. Bytes beyond ASCII pass: clients send them unencoded.
func isTarget(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return len(b) > 0
}

// isFieldValue is httpguts.ValidHeaderFieldValue for bytes, which needs no copy.
func isFieldValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isVersion checks an HTTP-version, RFC 9112 section 2.3.
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7])
}

// IsHost checks a host with an optional port, RFC 3986 section 3.2, without userinfo,
// which RFC 9110 section 4.2.4 wants treated as an error. httpguts.ValidHostHeader only
// checks that no character is impossible.
func IsHost(b []byte) bool {
	name, port := b, []byte(nil)
	if i := bytes.LastIndexByte(b, ':'); i >= 0 && bytes.IndexByte(b[i:], ']') < 0 {
		name, port = b[:i], b[i+1:]
	}
	for _, c := range port {
		if !isDigit(c) {
			return false
		}
	}
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		addr, err := netip.ParseAddr(string(name[1 : n-1]))
		return err == nil && addr.Is6()
	}
	for i, c := range name {
		if !isHostByte(c) || c == '%' && !isEscapedBeyondASCII(name[i:]) {
			return false
		}
	}
	return len(name) > 0
}

// isHostByte checks a character of a reg-name, RFC 3986 section 3.2.2.
func isHostByte(c byte) bool {
	switch c {
	case '#', '^', '`', '|': // in tokens only
		return false
	case '(', ')', ',', ';', '=':
		return true
	}
	return httpguts.IsTokenRune(rune(c))
}

// isEscapedBeyondASCII reports whether b begins with the escape of a byte that cannot
// stand for itself. RFC 3986 section 3.2.2 permits no other in the name of a host.
func isEscapedBeyondASCII(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	c, err := strconv.ParseUint(string(b[1:3]), 16, 8)
	return err == nil && c >= 0x80
}

// IsLocalHost reports whether a Host field names this machine in a way that no name
// server can redirect: an IP address, localhost, or a name below it (RFC 6761, 6.3).
func IsLocalHost(host []byte) bool {
	name := hostname(host)
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	const local = "localhost"
	name = bytes.TrimSuffix(name, []byte("."))
	if n := len(name) - len(local); n >= 0 && EqualFold(name[n:], local) && (n == 0 || name[n-1] == '.') {
		return true
	}
	if len(name) == 0 || !isDigit(name[0]) && bytes.IndexByte(name, ':') < 0 {
		return false
	}
	_, err := netip.ParseAddr(string(name))
	return err == nil
}

var (
	crlf  = []byte("\r\n")
	space = []byte(" ")
	slash = []byte("/")
)
