package auth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// JWT returns an Identifier for users who prove who they are with a JSON Web Token. It
// does not block: set Endpoint.NonBlocking. The client sends the token as
// "Authorization: Bearer TOKEN" or, since browsers let pages set no header, as
// ?token=TOKEN; the header has precedence. The claims are:
//
//   - sub, required, a string: the user;
//   - exp, required, a number: when the token expires. A session outlives its token,
//     unless Keys.CloseExpired is set;
//   - nbf, a number: when the token becomes valid;
//   - iss, a string, and aud, a string or a list of strings: checked if Keys says so;
//   - topics, a list of strings: what the session subscribes to. A name that ends with
//     "*" allows every name with that prefix, and is not subscribed to by itself.
//
// With ?topic=NAME, any number of times, a client subscribes to these instead of all;
// each must be in the token's list. A token without the claim allows no topics.
//
// A request without a valid token is rejected with 401 and the reason, one for other
// topics with 403. keys must not be changed afterwards.
func JWT(keys *Keys) server.Identifier {
	return newVerifier(keys).identify
}

// verifier verifies tokens. It is immutable.
type verifier struct {
	keys   *Keys
	parser *jwt.Parser
}

func newVerifier(keys *Keys) *verifier {
	options := []jwt.ParserOption{
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(keys.Leeway),
		jwt.WithStrictDecoding(), // a token has one spelling
	}
	if keys.Issuer != "" {
		options = append(options, jwt.WithIssuer(keys.Issuer))
	}
	if keys.Audience != "" {
		options = append(options, jwt.WithAudience(keys.Audience))
	}
	return &verifier{keys, jwt.NewParser(options...)}
}

// identify is a server.Identifier.
func (v *verifier) identify(_ context.Context, r *server.Request) (server.Identity, error) {
	token := r.Query("token")
	if header := bearer(r.Header("Authorization")); header != "" {
		token = header
	}
	if token == "" {
		return server.Identity{}, unauthorized("no token: send Authorization: Bearer TOKEN, or ?token=TOKEN")
	}
	return v.verify(token, r.QueryAll("topic"))
}

// verify returns the identity that a token proves, subscribed to the topics that the
// client asks for, or to all of the token if it asks for none.
func (v *verifier) verify(token string, asked []string) (server.Identity, error) {
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, v.keys.forToken); err != nil {
		return server.Identity{}, unauthorized(v.problem(&c, err))
	}
	if c.Subject == "" {
		return server.Identity{}, unauthorized("the token lacks the claim sub, which names the user")
	}
	topics, err := c.topics(asked)
	if err != nil {
		return server.Identity{}, err
	}
	id := server.Identity{User: c.Subject, Topics: topics, MaySubscribe: c.Topics}
	if v.keys.CloseExpired {
		id.Expires = time.Time(*c.Expires).Add(v.keys.Leeway) // exp is required
	}
	return id, nil
}

// unauthorized is RFC 6750 section 3.
func unauthorized(why string) error {
	return &server.Rejection{Status: http.StatusUnauthorized, Text: why, Header: http.Header{"Www-Authenticate": {`Bearer realm="fanfare"`}}}
}

// topics returns the topics to subscribe to.
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

// bearer returns the credentials of an Authorization header of that scheme (RFC 6750
// section 2.1), or nothing if it has another.
func bearer(header string) string {
	const scheme = "bearer "
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(header[len(scheme):])
}
