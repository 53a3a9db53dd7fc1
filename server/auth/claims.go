package auth

import (
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// claims are the claims that this package reads, nil where a token lacks one. Names that
// differ only in case are other claims (RFC 7519 section 10.1.1) and are ignored.
type claims struct {
	Subject   *string  `json:"sub"`
	Issuer    *string  `json:"iss"`
	Audience  audience `json:"aud"`
	Expires   *date    `json:"exp"`
	NotBefore *date    `json:"nbf"`
	IssuedAt  *date    `json:"iat"`
	ID        *string  `json:"jti"`
	Topics    []string `json:"topics"`
	Subscribe []string `json:"subscribe"`
	Publish   []string `json:"publish"`
	Presence  []string `json:"presence"`

	Limits server.SessionLimits `json:"limits"`
	Labels map[string]string    `json:"labels"`
}

// wanted is the type of each claim, in words for a client.
var wanted = map[string]string{
	"sub": "a string", "iss": "a string", "jti": "a string", "aud": "a string or a list of strings",
	"exp": numericDate, "nbf": numericDate, "iat": numericDate, "topics": "a list of strings",
	"subscribe": "a list of strings", "publish": "a list of strings", "presence": "a list of strings",
	"labels": "an object with strings",
	"limits": "an object with messages and topics, numbers from 1", // null; see server.SessionLimits for other values
}

const numericDate = "a number, the seconds since 1970" // RFC 7519 section 2

// nullError is an error of claims.UnmarshalJSON.
type nullError struct {
	claim   string
	element bool // of the claim's list
}

func (e *nullError) Error() string { return "claim " + e.claim + " is null" }

var errNotUTF8 = errors.New("claims are not UTF-8")

// UnmarshalJSON decodes the claims strictly, for package jwt, which would use
// encoding/json: that ignores case, lets the last of several equal names win, and
// replaces invalid UTF-8, so that two users could become one. A claim that is null is an
// error: it would count as absent, and so would a restriction such as nbf.
func (c *claims) UnmarshalJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errNotUTF8
	}
	if name, element := nullClaim(b); name != "" {
		return &nullError{name, element}
	}
	type plain claims // without this method
	return json.Unmarshal(b, (*plain)(c))
}

// date is a NumericDate of RFC 7519 section 2.
type date time.Time

// maxDate bounds a date, in seconds: a float64 has no integers beyond.
const maxDate = 1 << 53

var errDate = errors.New("not a date")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *date) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	v, err := in.ReadValue()
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(string(v), 64)
	if v.Kind() != '0' || err != nil || math.Abs(seconds) > maxDate {
		return &json.SemanticError{JSONKind: v.Kind(), Err: errDate}
	}
	whole, fraction := math.Modf(seconds)
	*d = date(time.Unix(int64(whole), int64(fraction*1e9)))
	return nil
}

// audience is a string or a list of strings (RFC 7519 section 4.1.3).
type audience []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *audience) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() == '"' {
		var s string
		err := json.UnmarshalDecode(in, &s)
		*a = audience{s}
		return err
	}
	return json.UnmarshalDecode(in, (*[]string)(a))
}

// These methods implement jwt.Claims.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.numeric(), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore.numeric(), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.IssuedAt.numeric(), nil }
func (c *claims) GetIssuer() (string, error)                   { return text(c.Issuer), nil }
func (c *claims) GetSubject() (string, error)                  { return text(c.Subject), nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings(c.Audience), nil }

// text returns the text of a claim; empty if it is absent.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (d *date) numeric() *jwt.NumericDate {
	if d == nil {
		return nil
	}
	return &jwt.NumericDate{Time: time.Time(*d)}
}
