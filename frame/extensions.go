package frame

import "bytes"

// scanner reads a Sec-WebSocket-Extensions header by the grammar of RFC 6455,
// 9.1, which is strict:
//
//	list  = 1#ext
//	ext   = token *( ";" param )
//	param = token [ "=" ( token / quoted-string ) ]
//
// The one in gobwas/httphead lets "a b" pass for "b" and "a; b=" for "a; b".
type scanner struct {
	rest []byte
}

// end skips white space and reports whether nothing else is left.
func (s *scanner) end() bool {
	s.rest = bytes.TrimLeft(s.rest, " \t")
	return len(s.rest) == 0
}

// eat skips white space, and c if that is next.
func (s *scanner) eat(c byte) bool {
	if s.end() || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token returns the token that is next, empty if there is none.
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

// value returns the token that is next, or is in the quoted string that is next:
// "the value after quoted-string unescaping MUST conform to the 'token' ABNF".
func (s *scanner) value() []byte {
	if !s.eat('"') {
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

// isToken reports whether c may stand in a token (RFC 7230, 3.2.6).
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	default:
		return c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
	}
}
