package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// JWT returns an Identifier for users who prove who they are with a JSON Web Token
// (RFC 7519) that the backend has signed. The client sends it as "Authorization: Bearer
// TOKEN" or, since browsers let pages set no header, as ?token=TOKEN; the field comes
// before the query.
//
// The token must be signed with one of keys, by the algorithm that belongs to the key:
// HS256 for a secret, RS256, ES256 and EdDSA for public keys. The claims, whose names
// are compared exactly:
//
//   - sub, required: the user;
//   - exp, required: when the token expires. A session outlives its token, unless
//     Keys.CloseExpired says otherwise;
//   - nbf: when it becomes valid. For both the clocks may differ by Keys.Leeway;
//   - iss and aud: checked if Keys asks for it;
//   - topics, a list of names: what the session subscribes to. A name that ends with
//     "*" allows every name with that prefix, and is not subscribed to by itself.
//
// With ?topic=NAME, any number of times, a client subscribes to these instead of all;
// each must be in the token's list. A token without the claim allows no topics.
//
// A request without a good token is rejected with 401 and the reason, one for other
// topics with 403. keys must not be changed afterwards.
func JWT(keys *Keys) server.Identifier {
	return newVerifier(keys).identify
}

// clockSkew is how much the clock of the machine that makes tokens may be off.
const clockSkew = 5 * time.Second

// claims that are looked at.
type claims struct {
	jwt.RegisteredClaims
	Topics []string `json:"topics"`
}

// verifier checks tokens. It is immutable.
type verifier struct {
	keys   *Keys
	parser *jwt.Parser
}

func newVerifier(keys *Keys) *verifier {
	options := []jwt.ParserOption{
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(clockSkew),
		jwt.WithStrictDecoding(), // one token has one spelling
	}
	if keys.Issuer != "" {
		options = append(options, jwt.WithIssuer(keys.Issuer))
	}
	if keys.Audience != "" {
		options = append(options, jwt.WithAudience(keys.Audience))
	}
	return &verifier{keys, jwt.NewParser(options...)}
}

// identify is a server.Identifier that does not block.
func (v *verifier) identify(_ context.Context, r *server.Request) (server.Identity, error) {
	token := bearer(r.Header("Authorization"))
	if token == "" {
		token = r.Query("token")
	}
	if token == "" {
		return server.Identity{}, unauthorized("no token: send Authorization: Bearer TOKEN, or ?token=TOKEN")
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, v.keys.forToken); err != nil {
		return server.Identity{}, unauthorized(tokenFault(err))
	}
	if c.Subject == "" {
		return server.Identity{}, unauthorized("the token has no sub, which names the user")
	}
	topics, err := c.topics(r.QueryAll("topic"))
	if err != nil {
		return server.Identity{}, err
	}
	id := server.Identity{User: c.Subject, Topics: topics, MaySubscribe: c.Topics}
	if v.keys.CloseExpired {
		id.Expires = c.ExpiresAt.Time // required
	}
	return id, nil
}

// unauthorized is RFC 6750 section 3.
func unauthorized(why string) error {
	return &server.Rejection{Status: http.StatusUnauthorized, Text: why, Header: http.Header{"Www-Authenticate": {`Bearer realm="fanfare"`}}}
}

// tokenFault says what is wrong with a token, and nothing that is in it. The order is
// that in which the library looks, so of several faults the first is named.
func tokenFault(err error) string {
	for _, f := range []struct {
		is  error
		say string
	}{
		{errNoKey, "the token is signed in a way that the server does not accept"},
		{errCritical, "the token has an extension (crit) that the server does not know"},
		{jwt.ErrTokenMalformed, "the token is malformed"},
		{jwt.ErrTokenUnverifiable, "the token is signed in a way that the server does not accept"}, // unknown algorithm
		{jwt.ErrTokenSignatureInvalid, "the token's signature is not one of the server's keys"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: exp must be there, iss and aud if the server wants them"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
	} {
		if errors.Is(err, f.is) {
			return f.say
		}
	}
	return "the token is not valid"
}

// topics are those to follow, given what the client asks for.
func (c *claims) topics(asked []string) ([]string, error) {
	if len(asked) == 0 {
		var all []string
		for _, t := range c.Topics {
			if !strings.HasSuffix(t, "*") {
				all = append(all, t)
			}
		}
		return all, nil
	}
	for _, t := range asked {
		if !server.Covers(c.Topics, t) {
			return nil, server.Reject(http.StatusForbidden, "the token's claim topics does not allow a topic that was asked for")
		}
	}
	return asked, nil
}

// bearer returns the credentials of an Authorization field of that scheme, RFC 6750
// section 2.1, and nothing of any other.
func bearer(field string) string {
	const scheme = "bearer "
	if len(field) < len(scheme) || !strings.EqualFold(field[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(field[len(scheme):])
}
