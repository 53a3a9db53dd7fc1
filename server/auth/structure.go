package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// structureProblem describes to a client why its token cannot be taken apart; empty if it
// can. Package jwt says "malformed" for all of these.
func structureProblem(token string) string {
	parts := strings.Split(token, ".")
	switch len(parts) {
	case 3:
	case 5: // RFC 7516 section 3.1
		return "the token is malformed: it has five parts, as encrypted tokens (JWE) have, which are not supported"
	default:
		return "the token is malformed: want three parts separated by dots (RFC 7515), not " + strconv.Itoa(len(parts))
	}
	for i, part := range []string{"header", "claims set", "signature"} {
		text, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		switch {
		case err != nil && strings.HasSuffix(parts[i], "="):
			return "the token is malformed: its " + part + " is padded with =: want base64url without padding (RFC 7515)"
		case err != nil:
			return "the token is malformed: its " + part + " is not base64url (RFC 7515)"
		case part == "signature":
			return ""
		}
		if problem := objectProblem(text); problem != "" {
			return "the token is malformed: its " + part + " " + problem
		}
	}
	return ""
}

// objectProblem describes why text is not one JSON object whose names are unique and whose
// strings are Unicode; empty if it is. It quotes no name that a client chose, because the
// description is logged as a reason.
func objectProblem(text []byte) string {
	const notObject = "is not a JSON object"
	if !utf8.Valid(text) {
		return "is not valid UTF-8"
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	value, err := dec.ReadValue()
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case err == nil && value.Kind() != '{':
		return notObject
	case err == nil && len(bytes.TrimLeft(text[dec.InputOffset():], " \t\r\n")) > 0:
		return "has bytes after its JSON object"
	case err == nil:
		return ""
	case !ok: // nothing at all
		return notObject
	case errors.Is(err, jsontext.ErrDuplicateName):
		pointer := string(syntax.JSONPointer)
		switch name := syntax.JSONPointer.LastToken(); {
		case strings.Count(pointer, "/") > 1:
			return "has an object inside that has a name more than once"
		case name == "alg" || name == "crit" || wanted[name] != "":
			return "has " + name + " more than once"
		}
		return "has a name more than once"
	case strings.Contains(syntax.Err.Error(), "surrogate"): // package jsontext has no error to compare with
		return "has half of a surrogate pair in a string (\\ud800 to \\udfff)"
	}
	return "is malformed JSON"
}

// nullClaim returns the claim of this package that is null, or has an element that is;
// empty if there is none. Package json takes null for an absent value.
func nullClaim(claims []byte) (name string, element bool) {
	if !bytes.Contains(claims, []byte("null")) {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(claims))
	for {
		token, err := dec.ReadToken()
		if err != nil { // the end, or what objectProblem describes
			return "", false
		}
		if token.Kind() != 'n' {
			continue
		}
		name, rest, nested := strings.Cut(strings.TrimPrefix(string(dec.StackPointer()), "/"), "/")
		if wanted[name] != "" && !strings.Contains(rest, "/") {
			return name, nested
		}
	}
}
