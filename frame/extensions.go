package frame

import "bytes"

// scanner splits a Sec-WebSocket-Extensions header by the grammar of RFC 6455, 9.1:
//
//	list  = 1#ext
//	ext   = token *( ";" param )
//	param = token [ "=" ( token / quoted-string ) ]
//
// It is strict. The scanner of gobwas/httphead accepts "a b" as "b" and "a; b=" as "a; b".
type scanner struct {
	rest []byte
}

// end skips white space and reports whether the header ends there.
func (s *scanner) end() bool {
	s.rest = bytes.TrimLeft(s.rest, " \t")
	return len(s.rest) == 0
}

// skip skips white space, and c if that follows, and reports whether c did.
func (s *scanner) skip(c byte) bool {
	if s.end() || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token returns the next token, or an empty slice if the header continues with something else.
func (s *scanner) token() []byte {
	s.end()
	n := 0
	for n < len(s.rest) && isToken(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value returns the next token or the content of the next quoted string: "the value after quoted-string
// unescaping MUST conform to the 'token' ABNF".
func (s *scanner) value() []byte {
	if !s.skip('"') {
		return s.token()
	}
	var t []byte
	for len(s.rest) > 0 {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == '"':
			return t
		case c == '\\' && len(s.rest) > 0:
			c = s.rest[0]
			s.rest = s.rest[1:]
		}
		if !isToken(c) {
			return nil
		}
		t = append(t, c)
	}
	return nil
}

// isToken reports whether a token may contain c (RFC 9110, 5.6.2).
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
	}
}
