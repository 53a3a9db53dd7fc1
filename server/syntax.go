package server

import (
	"bytes"
	"net/netip"
	"strconv"
)

// equalFold is for ASCII, as protocols want it: strings.EqualFold takes
// "web\u017focket" for "websocket".
func equalFold(b []byte, s string) bool {
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

// tokenTable has the characters of a token, RFC 9110 section 5.6.2.
var tokenTable = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

func isTokenBytes(b []byte) bool {
	for _, c := range b {
		if !tokenTable[c] {
			return false
		}
	}
	return len(b) > 0
}

// isProtocol: a name that may have a version, RFC 9110 section 7.8.
func isProtocol(b []byte) bool {
	name, version, has := bytes.Cut(b, slash)
	return isTokenBytes(name) && (!has || isTokenBytes(version))
}

func isToken(s string) bool { return isTokenBytes([]byte(s)) }

// isHostByte: a reg-name of RFC 3986 section 3.2.2.
func isHostByte(c byte) bool {
	switch c {
	case '#', '^', '`', '|': // of a token only
		return false
	case '(', ')', ',', ';', '=':
		return true
	}
	return tokenTable[c]
}

// isTarget: no space, no control character, and no fragment, which RFC 6455
// section 3 forbids. Bytes beyond ASCII pass: clients send them unencoded.
func isTarget(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return len(b) > 0
}

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

// isHost checks a host with an optional port, RFC 3986 section 3.2, without a
// user, which RFC 9110 section 4.2.4 wants to be taken for an error.
func isHost(b []byte) bool {
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
		if !isHostByte(c) || c == '%' && !isBeyondASCII(name[i:]) {
			return false
		}
	}
	return len(name) > 0
}

// isBeyondASCII: b begins with an escape of a byte that cannot stand for itself. RFC 3986 section 3.2.2 has
// no other in the name of a host.
func isBeyondASCII(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	c, err := strconv.ParseUint(string(b[1:3]), 16, 8)
	return err == nil && c >= 0x80
}
