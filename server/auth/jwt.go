package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
	"fanfare/server/internal/strict"
)

// JWT returns an Identifier for users who prove who they are with a JSON Web Token. Set
// Endpoint.NonBlocking: it returns at once, or server.ErrMustWait while it has to fetch one
// of keys.Sets. The client sends the token as
// "Authorization: Bearer TOKEN" or, since browsers let pages set no header, as
// ?token=TOKEN. A request with different tokens in both places is rejected with 400. The
// claims are:
//
//   - sub, required, a string: the user;
//   - exp, required, a number: when the token expires. A session outlives its token,
//     unless Keys.CloseExpired is set;
//   - nbf, a number: when the token becomes valid;
//   - iss, a string, and aud, a string or a list of strings: checked if Keys says so;
//   - jti, a string, and iat, a number: the token's ID, and when it was issued, for
//     server.Config.Revocations. A token without iat counts as issued in 1970;
//   - topics, a list of strings: what the session subscribes to. A name that ends with
//     "*" allows every name with that prefix, and is not subscribed to by itself;
//   - subscribe, publish and presence, lists of strings in the same form: further topics that
//     the client may subscribe to, topics that it may publish to, and topics whose presence
//     it may read, see server.Identity;
//   - limits, an object with the numbers messages and topics, see server.SessionLimits.
//
// With ?topic=NAME, any number of times, a client subscribes to these instead of all;
// each must be in the token's list. A token without the claim allows no topics.
//
// A request without a valid token is rejected with 401 and the reason, one for other
// topics with 403, one whose key is not known because a set cannot be fetched with 503. keys
// must not be changed afterwards.
func JWT(keys *Keys) server.Identifier {
	return NewTokens(keys).Identify
}

// verifier verifies tokens. All but headers is immutable.
type verifier struct {
	keys     *Keys
	parser   *jwt.Parser         // of everything except the claims
	byIssuer map[string][]*trust // for tokens of a certain issuer
	others   *trust              // for all other issuers; nil: their tokens are rejected
	headers  headers             // of valid tokens
}

func newVerifier(keys *Keys) *verifier {
	v := &verifier{
		keys:     keys,
		parser:   jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()), // a token has one spelling
		byIssuer: make(map[string][]*trust),
	}
	if len(keys.byAlgorithm) > 0 {
		var audiences []string
		if keys.Audience != "" {
			audiences = []string{keys.Audience}
		}
		fixed := newTrust(keys, nil, keys.Issuer, audiences...)
		if keys.Issuer == "" {
			v.others = fixed
		} else {
			v.byIssuer[keys.Issuer] = append(v.byIssuer[keys.Issuer], fixed)
		}
	}
	for _, set := range keys.Sets {
		cfg := &set.cfg
		v.byIssuer[cfg.Issuer] = append(v.byIssuer[cfg.Issuer], newTrust(keys, set, cfg.Issuer, cfg.Audiences...))
	}
	return v
}

// identify is a server.Identifier.
func (v *verifier) identify(ctx context.Context, r *server.Request) (server.Identity, error) {
	topics := r.QueryAll("topic")
	token, err := credential(r)
	if err != nil {
		return server.Identity{}, err
	}
	c, err := v.refreshed(ctx, r.MayBlock(), token)
	return v.identity(token, c, topics, err)
}

// credential returns the token that a request presents. RFC 6750 section 2: a client "MUST
// NOT use more than one method to transmit the token", and section 3.1 wants 400 for it. The
// same token twice is harmless. An Authorization field of another scheme beside ?token= is
// for a proxy on the way.
func credential(r *server.Request) (string, error) {
	query, fields := r.Query("token"), r.Headers("Authorization")
	if len(fields) > 1 {
		return "", server.Reject(http.StatusBadRequest, "the request has more than one Authorization field: send one")
	}
	header, scheme := "", ""
	if len(fields) == 1 {
		header, scheme = bearer(fields[0])
	}
	switch {
	case scheme == bearerScheme && header == "":
		return "", server.Reject(http.StatusBadRequest, "the Authorization field has the scheme Bearer and no token: send Authorization: Bearer TOKEN")
	case query != "" && header != "" && query != header:
		return "", server.Reject(http.StatusBadRequest, "the request has one token in the Authorization field and another in the query parameter token: send one of them")
	case header != "":
		return header, nil
	case query != "":
		return query, nil
	}
	const how = ": send Authorization: Bearer TOKEN, or ?token=TOKEN"
	if len(fields) == 1 {
		return "", unauthorized("no token, and the Authorization field has another scheme than Bearer" + how)
	}
	return "", noToken(how, r.Unread())
}

// noToken rejects a request without a token, and names the query parameters that have not
// been read, one of which may be a misspelled token.
func noToken(how string, unread []string) error {
	r := unauthorized("no token" + how)
	r.Reason = r.Text
	if len(unread) > 0 {
		r.Text += "; the query has " + strings.Join(unread, ", ")
	}
	return r
}

// identity returns the identity of a token with claims c, subscribed to the topics that the
// client asks for, or to all of the token if it asks for none. err is that of parse.
func (v *verifier) identity(token string, c *claims, asked []string, err error) (server.Identity, error) {
	var rejection *server.Rejection
	switch {
	case errors.Is(err, server.ErrMustWait), errors.As(err, &rejection):
		return server.Identity{}, err
	case err != nil:
		r := unauthorized(v.problem(token, c, err))
		if _, ok := strict.Wrong(err); ok {
			r.Reason = "the token's claim limits has a wrong value" // Text has the value, which a stranger may have made up
		}
		return server.Identity{}, r
	case c.Subject == nil:
		return server.Identity{}, unauthorized("the token lacks the claim sub, which names the user")
	case *c.Subject == "":
		return server.Identity{}, unauthorized("the token's claim sub is empty: want the name of the user")
	}
	topics, err := c.topics(asked)
	if err != nil {
		return server.Identity{}, err
	}
	id := server.Identity{
		User: *c.Subject, Topics: topics,
		MaySubscribe: slices.Concat(c.Topics, c.Subscribe), MayPublish: c.Publish, MayReadPresence: c.Presence, Limits: c.Limits, Labels: c.Labels,
	}
	id.TokenID, id.Issued = text(c.ID), time.Unix(0, 0)
	if c.IssuedAt != nil {
		id.Issued = time.Time(*c.IssuedAt)
	}
	id.ValidUntil = time.Time(*c.Expires) // exp is required
	if v.keys.CloseExpired {
		id.Expires = id.ValidUntil.Add(v.keys.Leeway)
	}
	return id, nil
}

// unavailable rejects a token that may be valid.
func unavailable(retry time.Duration) error {
	return &server.Rejection{
		Status: http.StatusServiceUnavailable,
		Text:   "the server could not fetch the keys of the token's issuer, try again later",
		Header: http.Header{"Retry-After": {strconv.Itoa(int((retry + time.Second - 1) / time.Second))}},
	}
}

// unauthorized is RFC 6750 section 3.
func unauthorized(why string) *server.Rejection {
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
		if !server.Covers(c.Topics, t) && !server.Covers(c.Subscribe, t) {
			return nil, server.Reject(http.StatusForbidden, "the token's claims topics and subscribe do not allow a topic that was asked for")
		}
	}
	return asked, nil
}

const bearerScheme = "bearer"

// bearer returns the scheme of an Authorization field, in lower case, and the token if the
// scheme is bearer (RFC 6750 section 2.1).
func bearer(field string) (token, scheme string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(field), " ")
	if scheme = strings.ToLower(scheme); scheme != bearerScheme {
		return "", scheme
	}
	return strings.TrimSpace(rest), scheme
}
