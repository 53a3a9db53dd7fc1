package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/auth"
)

// authFlags say how a session's user is identified.
type authFlags struct {
	Auth            string        `help:"Who decides which user a session belongs to: none (the client does; for development) or jwt (a signed token does)." enum:"none,jwt" default:"none" group:"Security"`
	JWTKeyFile      string        `name:"jwt-key-file" help:"Keys that verify tokens: public keys in PEM, or an HMAC secret." placeholder:"FILE" group:"Security" live:"yes"`
	JWTIssuer       string        `name:"jwt-issuer" help:"Required value of a token's iss." placeholder:"ISS" group:"Security" live:"yes"`
	JWTAudience     string        `name:"jwt-audience" help:"Value that a token's aud must contain." placeholder:"AUD" group:"Security" live:"yes"`
	JWTLeeway       time.Duration `name:"jwt-leeway" help:"Maximum difference of the issuer's clock, for exp and nbf." default:"5s" group:"Security" live:"yes"`
	JWTCloseExpired bool          `name:"jwt-close-expired" help:"Close a session with 3000 when its token has expired by more than --jwt-leeway." group:"Security" live:"yes"`

	tokenKeys *auth.Keys   // nil: --auth none; set by endpoint
	tokens    *auth.Tokens // likewise
}

// maxLeeway is far above what clocks differ by; more makes expired tokens valid.
const maxLeeway = time.Hour

// endpoint is the one for push sessions.
func (a *authFlags) endpoint(path string) (server.Endpoint, error) {
	push := server.PushEndpoint(path)
	if a.Auth == "none" {
		return push, nil
	}
	if a.JWTKeyFile == "" {
		return push, errors.New("--auth jwt needs --jwt-key-file")
	}
	if a.JWTLeeway < 0 || a.JWTLeeway > maxLeeway {
		return push, fmt.Errorf("--jwt-leeway is %v: want 0s to %v", a.JWTLeeway, maxLeeway)
	}
	keys, err := auth.LoadKeys(a.JWTKeyFile)
	if err != nil {
		return push, fmt.Errorf("--jwt-key-file: %s", strings.TrimPrefix(err.Error(), "auth: token keys: "))
	}
	keys.Issuer, keys.Audience, keys.Leeway, keys.CloseExpired = a.JWTIssuer, a.JWTAudience, a.JWTLeeway, a.JWTCloseExpired
	a.tokenKeys, a.tokens = keys, auth.NewTokens(keys)
	push.Identifier, push.Insecure = a.tokens.Identify, false // it does not block, as Push's does not
	return push, nil
}
