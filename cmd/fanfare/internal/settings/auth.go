package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/auth"
	"fanfare/server/identity"
)

// authFlags say how a session's user is identified.
type authFlags struct {
	Auth            string        `help:"Who decides which user a session belongs to: none (the client does; for development), jwt (a signed token does) or hook (your backend does, for each handshake)." enum:"none,jwt,hook" default:"none" group:"Security"`
	JWTKeyFile      string        `name:"jwt-key-file" help:"Keys that verify tokens: public keys in PEM, or an HMAC secret." placeholder:"FILE" group:"Security" live:"yes"`
	JWKS            []keySet      `name:"jwks" help:"JSON Web Key Set (https URL or file) that verifies the tokens of one issuer, for an audience or for any (*); also ,ca=FILE and ,insecure-http; repeatable." placeholder:"URL,issuer=ISS,audience=AUD" sep:"none" group:"Security" live:"yes"`
	JWTIssuer       string        `name:"jwt-issuer" help:"Required value of the iss of tokens verified by --jwt-key-file, and default of issuer= in --jwks." placeholder:"ISS" group:"Security" live:"yes"`
	JWTAudience     string        `name:"jwt-audience" help:"Value that the aud of these tokens must contain, and default of audience=." placeholder:"AUD" group:"Security" live:"yes"`
	JWTLeeway       time.Duration `name:"jwt-leeway" help:"Maximum difference of the issuer's clock, for exp and nbf." default:"5s" group:"Security" live:"yes"`
	JWTCloseExpired bool          `name:"jwt-close-expired" help:"Close a session with 3000 when its token has expired by more than --jwt-leeway." group:"Security" live:"yes"`
}

// maxLeeway is far above what clocks differ by; more makes expired tokens valid.
const maxLeeway = time.Hour

// endpoint returns the endpoint for push sessions, and sets what identifies clients in p.
func (cmd *Serve) endpoint(p *Plan, log *slog.Logger) (push server.Endpoint, err error) {
	push = server.PushEndpoint(cmd.Path)
	switch cmd.Auth {
	case "none":
		err = cmd.allowPublish(&push)
		return push, err
	case "hook":
		if p.Hook, p.HookConfig, err = cmd.connectHook(log); err != nil {
			return push, err
		}
		push.Identifier, push.NonBlocking, push.Insecure = p.Hook.Identify, false, false
		return push, nil
	}
	if p.TokenKeys, err = cmd.keys(log); err != nil {
		return push, err
	}
	p.Tokens = new(auth.Tokens)
	push.Identifier, push.Refresh, push.Insecure = p.Tokens.Identify, p.Tokens.Refresh, false // NonBlocking, as Push's
	return push, nil
}

// keys reads the keys of tokens. Nothing is fetched yet.
func (a *authFlags) keys(log *slog.Logger) (*auth.Keys, error) {
	if a.JWTKeyFile == "" && len(a.JWKS) == 0 {
		return nil, errors.New("--auth jwt needs --jwt-key-file or --jwks")
	}
	if a.JWTLeeway < 0 || a.JWTLeeway > maxLeeway {
		return nil, fmt.Errorf("--jwt-leeway is %v: want 0s to %v", a.JWTLeeway, maxLeeway)
	}
	keys := new(auth.Keys)
	if a.JWTKeyFile != "" {
		var err error
		if keys, err = auth.LoadKeys(a.JWTKeyFile); err != nil {
			return nil, fmt.Errorf("--jwt-key-file: %s", strings.TrimPrefix(err.Error(), "auth: token keys: "))
		}
	}
	keys.Issuer, keys.Audience, keys.Leeway, keys.CloseExpired = a.JWTIssuer, a.JWTAudience, a.JWTLeeway, a.JWTCloseExpired
	for i := range a.JWKS {
		set, err := a.JWKS[i].open(a, log)
		if err != nil {
			return nil, fmt.Errorf("--jwks: %s", strings.TrimPrefix(err.Error(), "auth: "))
		}
		keys.Sets = append(keys.Sets, set)
	}
	return keys, nil
}

// allowPublish lets clients that name their user themselves publish to topics.
func (cmd *Serve) allowPublish(push *server.Endpoint) error {
	topics := cmd.ClientPublish
	if len(topics) == 0 {
		return nil
	}
	if err := identity.Check(&server.Identity{MayPublish: topics}); err != nil {
		return fmt.Errorf("--client-publish: %s", strings.TrimPrefix(err.Error(), "publish: "))
	}
	identify := push.Identifier
	push.Identifier = func(ctx context.Context, r *server.Request) (server.Identity, error) {
		id, err := identify(ctx, r)
		id.MayPublish = topics
		return id, err
	}
	return nil
}
