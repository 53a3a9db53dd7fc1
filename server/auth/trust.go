package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// trust is one source of keys with its rules for the tokens that these verify: the fixed
// keys of Keys, or one of its Sets. It is immutable.
type trust struct {
	fixed  *Keys   // nil: set
	set    *KeySet // nil: fixed
	claims *jwt.Validator
}

func newTrust(keys *Keys, set *KeySet, issuer string, audiences ...string) *trust {
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(keys.Leeway)}
	if issuer != "" {
		options = append(options, jwt.WithIssuer(issuer))
	}
	if len(audiences) > 0 {
		options = append(options, jwt.WithAudience(audiences...))
	}
	t := &trust{set: set, claims: jwt.NewValidator(options...)}
	if set == nil {
		t.fixed = keys
	}
	return t
}

var (
	errUnknownKey = errors.New("no key for the kid")
	errManyKeys   = errors.New("too many keys for a token without a kid")
	errKid        = fmt.Errorf("%w: kid is not a string", jwt.ErrTokenMalformed)
)

// forToken returns the keys that may have signed a token.
func (t *trust) forToken(token *jwt.Token) (any, error) {
	if err := checkHeader(token); err != nil {
		return nil, err
	}
	kid, ok := token.Header["kid"].(string)
	if _, named := token.Header["kid"]; named && !ok && t.set != nil {
		return nil, errKid
	}
	keys, err := t.keys(token.Method.Alg(), kid)
	if err != nil {
		return nil, err
	}
	return jwt.VerificationKeySet{Keys: keys}, nil
}

// keys returns the keys that may have signed a token with an algorithm and a kid, which is
// empty if the token has none. The kid of a token does not matter to fixed keys.
func (t *trust) keys(algorithm, kid string) ([]jwt.VerificationKey, error) {
	if t.set == nil {
		return t.fixed.forAlgorithm(algorithm)
	}
	all := t.set.keys.Load()
	if all == nil {
		return nil, errUnknownKey
	}
	keys := all.by[keyID{algorithm, kid}]
	switch {
	case len(keys) == 0:
		return nil, errUnknownKey
	case len(keys) > maxKeys:
		return nil, errManyKeys
	}
	return keys, nil
}

// trusts returns the sources of keys for the tokens of an issuer. The fixed keys verify
// tokens of every issuer that has no set, unless Keys.Issuer names theirs.
func (v *verifier) trusts(issuer string) ([]*trust, error) {
	found := v.byIssuer[issuer]
	if len(found) == 0 && v.others != nil {
		found = []*trust{v.others}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case issuer == "":
		return nil, jwt.ErrTokenRequiredClaimMissing
	}
	return nil, jwt.ErrTokenInvalidIssuer
}

// parse verifies a token with each source of keys that its issuer has, and returns its
// claims. lacking are the sets that may have the token's key when they are fetched again.
func (v *verifier) parse(token string) (c *claims, lacking []*KeySet, err error) {
	if c := v.quick(token); c != nil {
		return c, nil, nil
	}
	var candidates []*trust
	for i := 0; ; i++ {
		c = new(claims)
		var used *trust
		t, e := v.parser.ParseWithClaims(token, c, func(t *jwt.Token) (_ any, err error) {
			if candidates == nil {
				if candidates, err = v.trusts(text(c.Issuer)); err != nil {
					return nil, err
				}
			}
			used = candidates[i]
			return used.forToken(t)
		})
		if e == nil {
			e = used.claims.Validate(c)
		}
		if e == nil {
			v.headers.add(token, t)
			return c, nil, nil
		}
		if err == nil || !errors.Is(e, errUnknownKey) { // a set that has the key knows better
			err = e
		}
		if used != nil && used.set != nil && errors.Is(e, errUnknownKey) {
			lacking = append(lacking, used.set)
		}
		aboutKeys := errors.Is(e, errUnknownKey) || errors.Is(e, errNoKey) || errors.Is(e, jwt.ErrTokenSignatureInvalid)
		if !aboutKeys || i+1 >= len(candidates) {
			return c, lacking, err
		}
	}
}

// refreshed is parse that fetches the sets which lack the token's key, where they allow
// that. It returns server.ErrMustWait if the caller may not block.
func (v *verifier) refreshed(ctx context.Context, mayBlock bool, token string) (*claims, error) {
	c, lacking, err := v.parse(token)
	if err == nil || len(lacking) == 0 {
		return c, err
	}
	waited := false
	for _, set := range lacking {
		if !set.mayRefresh() {
			continue
		}
		if !mayBlock {
			return nil, server.ErrMustWait
		}
		set.await(ctx)
		waited = true
	}
	if waited {
		if c, lacking, err = v.parse(token); err == nil {
			return c, nil
		}
	}
	for _, set := range lacking {
		set.unknown.Add(1)
		if d, outdated := set.retryAfter(); outdated {
			return nil, unavailable(d)
		}
	}
	return c, err
}
