package auth

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// problem describes to a client what is wrong with its token, without a value of it.
// Of several faults it names the first, in the order in which package jwt checks.
func (v *verifier) problem(c *claims, err error) string {
	if text := claimProblem(err); text != "" {
		return text
	}
	switch {
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "the token lacks the claim " + v.missing(c)
	case errors.Is(err, jwt.ErrTokenExpired):
		return "the token has expired (claim exp)"
	}
	for _, p := range []struct {
		err  error
		text string
	}{
		{errNoKey, "the server has no key for the token's algorithm"},
		{errCritical, "the token has an extension (crit) that the server does not know"},
		{jwt.ErrTokenMalformed, "the token is malformed: want three parts of base64url without padding, separated by dots (RFC 7515)"},
		{jwt.ErrTokenUnverifiable, "the server has no key for the token's algorithm"}, // or does not know it
		{jwt.ErrTokenSignatureInvalid, "the token's signature was not made with a key of the server"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet (claim nbf)"},
		{jwt.ErrTokenInvalidIssuer, "the token is from another issuer (claim iss)"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience (claim aud)"},
	} {
		if errors.Is(err, p.err) {
			return p.text
		}
	}
	return "the token is not valid"
}

// missing returns the first required claim that a token lacks.
func (v *verifier) missing(c *claims) string {
	switch {
	case c.Expires == nil:
		return "exp, which says when it expires"
	case v.keys.Issuer != "" && c.Issuer == "":
		return "iss, which names its issuer"
	}
	return "aud, which names its audience"
}

// claimProblem describes claims that cannot be decoded; empty if they can.
func claimProblem(err error) string {
	if errors.Is(err, errNotUTF8) {
		return "the token's claims are not valid UTF-8"
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(e.JSONPointer), "/"), "/")
		want, known := wanted[name]
		switch {
		case !known:
			return "the token's claims are not a JSON object"
		case errors.Is(err, errDate) && e.JSONKind == '0':
			return "the token's claim " + name + " is out of range: want " + want
		case strings.Count(string(e.JSONPointer), "/") > 1:
			return "the token's claim " + name + " has an element that is " + kindName(e.JSONKind) + ": want " + want
		}
		return "the token's claim " + name + " is " + kindName(e.JSONKind) + ": want " + want
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(e, jsontext.ErrDuplicateName) {
			if name := e.JSONPointer.LastToken(); wanted[name] != "" {
				return "the token has the claim " + name + " more than once"
			}
			return "the token has a claim more than once"
		}
		return "the token's claims are malformed JSON"
	}
	return ""
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "of another type"
}
