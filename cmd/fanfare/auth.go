package main

import (
	"errors"
	"fmt"
	"strings"

	"fanfare/server"
	"fanfare/server/auth"
)

// authFlags are those that say who names the user of a connection.
type authFlags struct {
	Auth            string `help:"Who names the user of a connection: none (the client, for development) or jwt (a signed token)." enum:"none,jwt" default:"none" group:"Security"`
	JWTKeyFile      string `name:"jwt-key-file" help:"What tokens are checked with: public keys (PEM), or an HMAC secret." placeholder:"FILE" group:"Security"`
	JWTIssuer       string `name:"jwt-issuer" help:"Want this iss in a token." placeholder:"ISS" group:"Security"`
	JWTAudience     string `name:"jwt-audience" help:"Want this among a token's aud." placeholder:"AUD" group:"Security"`
	JWTCloseExpired bool   `name:"jwt-close-expired" help:"Close a session with 3000 when its token expires." group:"Security"`
}

// endpoint is /ws, for push sessions.
func (a *authFlags) endpoint() (server.Endpoint, error) {
	const path = "/ws"
	if a.Auth == "none" {
		// Whoever gives a key believes that tokens are checked.
		if a.JWTKeyFile != "" || a.JWTIssuer != "" || a.JWTAudience != "" || a.JWTCloseExpired {
			return server.Endpoint{}, errors.New("flags for tokens are given, and --auth is none: say --auth jwt")
		}
		return server.Push(path), nil
	}
	if a.JWTKeyFile == "" {
		return server.Endpoint{}, errors.New("--auth jwt needs --jwt-key-file")
	}
	keys, err := auth.LoadKeys(a.JWTKeyFile)
	if err != nil {
		return server.Endpoint{}, fmt.Errorf("--jwt-key-file: %s", strings.TrimPrefix(err.Error(), "auth: token keys: "))
	}
	keys.Issuer, keys.Audience, keys.CloseExpired = a.JWTIssuer, a.JWTAudience, a.JWTCloseExpired
	push := server.Push(path)
	push.Identifier, push.Insecure = auth.JWT(keys), false // it does not block, as Push's does not
	return push, nil
}
