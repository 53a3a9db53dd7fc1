package auth

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// quick verifies a token whose header is that of an earlier valid token, as nearly all of
// one issuer have, and returns its claims. It makes less than half of the garbage of package jwt's
// parser. It returns nil if the token has to be parsed in full, and then it may still be
// valid; a token that it accepts would be accepted by that, too.
func (v *verifier) quick(token string) *claims {
	encodedHeader, rest, _ := strings.Cut(token, ".")
	encodedClaims, encodedSignature, _ := strings.Cut(rest, ".")
	h, ok := v.headers.find(encodedHeader)
	if !ok {
		return nil
	}
	d := decoded.Get().(*decodeBuffer)
	defer decoded.Put(d)
	payload, ok := d.decode(&d.claims, encodedClaims)
	if !ok || bytes.Contains(payload, []byte("null")) { // see nullClaim
		return nil
	}
	signature, ok := d.decode(&d.signature, encodedSignature)
	if !ok {
		return nil
	}
	c := new(claims)
	type plain claims // without UnmarshalJSON
	if json.Unmarshal(payload, (*plain)(c)) != nil {
		return nil
	}
	candidates, err := v.trusts(text(c.Issuer))
	if err != nil || len(candidates) > 1 {
		return nil
	}
	keys, err := candidates[0].keys(h.method.Alg(), h.kid)
	if err != nil {
		return nil
	}
	signed := token[:len(encodedHeader)+1+len(encodedClaims)]
	for _, key := range keys {
		if h.method.Verify(signed, signature, key) == nil {
			if candidates[0].claims.Validate(c) != nil {
				return nil
			}
			return c
		}
	}
	return nil
}

// decodeBuffer has room for the decoded parts of a token, which nothing refers to afterwards.
type decodeBuffer struct{ claims, signature []byte }

var decoded = sync.Pool{New: func() any { return new(decodeBuffer) }}

// mostDecoded bounds the memory that a buffer keeps. Longer tokens are parsed in full.
const mostDecoded = 4 << 10

var strictBase64 = base64.RawURLEncoding.Strict()

func (d *decodeBuffer) decode(buf *[]byte, part string) (b []byte, ok bool) {
	n := strictBase64.DecodedLen(len(part))
	if n > mostDecoded {
		return nil, false
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b = (*buf)[:n]
	n, err := strictBase64.Decode(b, []byte(part))
	return b[:n], err == nil
}

// header is what the header of a valid token says.
type header struct {
	method jwt.SigningMethod
	kid    string
}

// headers has the encoded headers of valid tokens. They are covered by the signatures, so
// clients cannot fill it with others than the issuer's. The zero value is ready to use.
type headers struct {
	known atomic.Pointer[map[string]header] // never modified
	mu    sync.Mutex                        // held to replace known
}

// mostHeaders bounds the headers that are kept, of at most longestHeader bytes: each key of
// an issuer has one.
const (
	mostHeaders   = 64
	longestHeader = 512
)

func (hs *headers) find(encoded string) (h header, ok bool) {
	if known := hs.known.Load(); known != nil {
		h, ok = (*known)[encoded]
	}
	return h, ok
}

// add enters the header of a token that was parsed in full, and is valid. A known header stays,
// though quick has not accepted the token.
func (hs *headers) add(token string, t *jwt.Token) {
	encoded, _, _ := strings.Cut(token, ".")
	if _, known := hs.find(encoded); known || len(encoded) > longestHeader {
		return
	}
	kid, _ := t.Header["kid"].(string)
	hs.mu.Lock()
	defer hs.mu.Unlock()
	next := map[string]header{strings.Clone(encoded): {t.Method, strings.Clone(kid)}}
	if known := hs.known.Load(); known != nil && len(*known) < mostHeaders {
		for k, h := range *known {
			next[k] = h
		}
	}
	hs.known.Store(&next)
}
