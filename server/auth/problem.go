package auth

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"fanfare/server/internal/strict"
)

// problem describes to a client what is wrong with its token, without a value of it, except
// a number or a short text in limits.
// Of several faults it names the first, in the order in which package jwt checks.
func (v *verifier) problem(token string, c *claims, err error) string {
	if text := structureProblem(token); text != "" {
		return text
	}
	if text := claimProblem(err); text != "" {
		return text
	}
	switch {
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return v.missing(c)
	case errors.Is(err, jwt.ErrTokenExpired):
		return "the token has expired (claim exp)"
	}
	if !namesAlgorithm(token) {
		return "the token's header lacks alg, a string that names its algorithm (RFC 7515 section 4.1.1)"
	}
	for _, p := range []struct {
		err  error
		text string
	}{
		{errNoKey, "the server has no key for the token's algorithm"},
		{errUnknownKey, "the issuer's key set has no key with the token's kid and algorithm"},
		{errManyKeys, "the token has no kid, and the issuer's key set has too many keys to try them all"},
		{errCritical, "the token has an extension (crit) that the server does not know"},
		{jwt.ErrTokenMalformed, "the token is malformed"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature was not made with a key of the server"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet (claim nbf)"},
		{jwt.ErrTokenInvalidIssuer, "the token is from another issuer (claim iss)"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience (claim aud)"},
		{jwt.ErrTokenUnverifiable, "the server has no key for the token's algorithm"}, // or does not know it
	} {
		if errors.Is(err, p.err) {
			return p.text
		}
	}
	return "the token is not valid"
}

// namesAlgorithm reports whether a token of valid structure has alg in its header.
func namesAlgorithm(token string) bool {
	encoded, _, _ := strings.Cut(token, ".")
	text, _ := base64.RawURLEncoding.DecodeString(encoded)
	var header struct {
		Alg string `json:"alg"`
	}
	return json.Unmarshal(text, &header) == nil && header.Alg != ""
}

// missing describes the first required claim that a token lacks, or that is empty.
func (v *verifier) missing(c *claims) string {
	switch {
	case c.Expires == nil:
		return "the token lacks the claim exp, which says when it expires"
	case v.others == nil && c.Issuer == nil:
		return "the token lacks the claim iss, which names its issuer"
	case v.others == nil && *c.Issuer == "":
		return "the token's claim iss is empty: want the name of its issuer"
	case c.Audience == nil:
		return "the token lacks the claim aud, which names its audience"
	}
	return "the token's claim aud is empty: want the name of its audience"
}

// claimProblem describes claims of a wrong type; empty if they are of the right one.
func claimProblem(err error) string {
	if e, ok := errors.AsType[*nullError](err); ok {
		if e.element {
			return "the token's claim " + e.claim + " has an element that is null: want " + wanted[e.claim]
		}
		return "the token's claim " + e.claim + " is null: want " + wanted[e.claim] + ", or no such claim"
	}
	if text, ok := strict.Wrong(err); ok {
		return "the token's claim " + text
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(e.JSONPointer), "/"), "/")
		want, known := wanted[name]
		switch {
		case !known:
			return "the token's claims cannot be read"
		case errors.Is(err, errDate) && e.JSONKind == '0':
			return "the token's claim " + name + " is out of range: want " + want
		case strings.Count(string(e.JSONPointer), "/") > 1:
			return "the token's claim " + name + " has an element that is " + strict.KindName(e.JSONKind) + ": want " + want
		}
		return "the token's claim " + name + " is " + strict.KindName(e.JSONKind) + ": want " + want
	}
	return ""
}
