package server

import (
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Authenticated is the endpoint for push sessions of users who prove who they are,
// with a JSON Web Token (RFC 7519) that the backend has signed. The client sends it
// as "Authorization: Bearer TOKEN" or, since browsers let pages set no header, as
// ?token=TOKEN; the field comes before the query.
//
// The token must be signed with one of keys, by the algorithm that belongs to the
// key: HS256 to a secret, RS256, ES256 and EdDSA to public keys. The claims:
//
//   - sub, required: the user;
//   - exp, required: when the token expires. A session outlives its token, unless
//     Keys.CloseExpired says otherwise;
//   - nbf: when it begins to hold. For both the clocks may differ by 5 s;
//   - iss and aud: checked if Keys asks for it;
//   - topics, a list of names: what the session follows. A name that ends with "*"
//     stands for all that begin alike and is followed by nobody by itself.
//
// With ?topic=NAME, any number of times, a client follows these instead of all; each
// must be in the token's list. A token without the claim allows no topics.
//
// A request without a good token gets 401 and why, one for other topics 403. keys
// are not changed afterwards.
func Authenticated(path string, keys *Keys) Endpoint {
	return Endpoint{Path: path, Identify: newVerifier(keys).identify, Protocols: []string{ProtocolV1}}
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

// identify is an Endpoint.Identify.
func (v *verifier) identify(r *Request) (Identity, error) {
	token := string(bearer([]byte(r.Header("Authorization"))))
	if token == "" {
		token = r.Query("token")
	}
	if token == "" {
		return Identity{}, unauthorized("no token: send Authorization: Bearer TOKEN, or ?token=TOKEN")
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, v.keys.forToken); err != nil {
		return Identity{}, unauthorized(tokenFault(err))
	}
	if c.Subject == "" {
		return Identity{}, unauthorized("the token has no sub, which names the user")
	}
	topics, err := c.topics(r.QueryAll("topic"))
	if err != nil {
		return Identity{}, err
	}
	id := Identity{User: c.Subject, Topics: topics, MayFollow: c.Topics}
	if v.keys.CloseExpired {
		id.Expires = c.ExpiresAt.Time // required
	}
	return id, nil
}

// unauthorized is RFC 6750 section 3.
func unauthorized(why string) error {
	return &Refusal{Status: 401, Text: why, header: "WWW-Authenticate: Bearer realm=\"fanfare\"\r\n"}
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
		if !covers(c.Topics, t) {
			return nil, Refuse(403, "the token's claim topics does not allow a topic that was asked for")
		}
	}
	return asked, nil
}

// covers tells whether a topic is in a list of names and of prefixes with "*".
func covers(list []string, topic string) bool {
	for _, t := range list {
		if prefix, all := strings.CutSuffix(t, "*"); t == topic || all && strings.HasPrefix(topic, prefix) {
			return true
		}
	}
	return false
}
