package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"time"
)

// tokens makes JSON Web Tokens (RFC 7519), signed with HS256, as a backend hands them out: with a user, the times of
// issue and expiry, an ID, and permission to subscribe to every topic.
type tokens struct {
	mac    hash.Hash
	issued int64
}

// tokenHeader is {"alg":"HS256","typ":"JWT"}.
const tokenHeader = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."

func (t *tokens) of(secret string, user uint32) string {
	if t.mac == nil {
		t.mac, t.issued = hmac.New(sha256.New, []byte(secret)), time.Now().Unix()
	}
	claims := fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d,"jti":"%016x","topics":["*"]}`,
		UserName(user), t.issued, t.issued+24*60*60, user)
	b := base64.RawURLEncoding.AppendEncode([]byte(tokenHeader), claims)
	t.mac.Reset()
	t.mac.Write(b)
	return string(base64.RawURLEncoding.AppendEncode(append(b, '.'), t.mac.Sum(nil)))
}
