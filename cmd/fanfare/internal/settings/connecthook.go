package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fanfare/server/connecthook"
)

// connectHookFlags are about the backend that identifies clients.
type connectHookFlags struct {
	ConnectHook             string        `name:"connect-hook" help:"URL of the backend that is asked about each handshake, with --auth hook: https, or http on loopback." placeholder:"URL" group:"Connect hook" live:"yes"`
	ConnectHookKeyFile      string        `name:"connect-hook-key-file" help:"Secrets that sign the requests (Standard Webhooks), one per line." placeholder:"FILE" group:"Connect hook" live:"yes"`
	ConnectHookHeaders      []string      `name:"connect-hook-headers" help:"Headers of a handshake that the backend gets." placeholder:"NAME,…" group:"Connect hook" live:"yes"`
	ConnectHookCookies      []string      `name:"connect-hook-cookies" help:"Cookies that it gets." placeholder:"NAME,…" group:"Connect hook" live:"yes"`
	ConnectHookQuery        []string      `name:"connect-hook-query" help:"Query parameters that it gets." placeholder:"NAME,…" group:"Connect hook" live:"yes"`
	ConnectHookFailure      string        `name:"connect-hook-failure" help:"What happens to a client while the backend does not answer: reject it with 503, or anonymous: open a session for a user of its own, without topics." enum:"reject,anonymous" default:"reject" group:"Connect hook" live:"yes"`
	ConnectHookTimeout      time.Duration `name:"connect-hook-timeout" help:"Time for a request." default:"5s" group:"Connect hook" live:"yes"`
	ConnectHookConcurrency  int           `name:"connect-hook-concurrency" help:"Maximum number of requests under way." default:"64" group:"Connect hook"`
	ConnectHookQueue        int           `name:"connect-hook-queue" help:"Maximum number of handshakes that wait for a request; more are rejected with 503." default:"20000" group:"Connect hook"`
	ConnectHookCA           string        `name:"connect-hook-ca" help:"Authorities that the backend is verified with, in PEM, instead of the system's." placeholder:"FILE" group:"Connect hook" live:"yes"`
	ConnectHookInsecureHTTP bool          `name:"connect-hook-insecure-http" help:"Allow http for a backend that is not on loopback: an attacker on the network can then choose identities." group:"Connect hook" live:"yes"`
}

// connectHook returns the hook and its configuration, and makes no request.
func (cmd *Serve) connectHook(log *slog.Logger) (hook *connecthook.Hook, cfg connecthook.Config, err error) {
	if cmd.ConnectHook == "" {
		return nil, cfg, errors.New("--auth hook needs --connect-hook")
	}
	secrets, err := hookSecrets("connect-hook", cmd.ConnectHookKeyFile)
	if err != nil {
		return nil, cfg, err
	}
	failure, err := connecthook.ParseFailure(cmd.ConnectHookFailure)
	if err != nil {
		return nil, cfg, err
	}
	cfg = connecthook.Config{
		URL:          cmd.ConnectHook,
		CA:           cmd.ConnectHookCA,
		InsecureHTTP: cmd.ConnectHookInsecureHTTP,
		Secrets:      secrets,
		Headers:      cmd.ConnectHookHeaders,
		Cookies:      cmd.ConnectHookCookies,
		Query:        cmd.ConnectHookQuery,
		Timeout:      cmd.ConnectHookTimeout,
		Concurrency:  cmd.ConnectHookConcurrency,
		Failure:      failure,
		Logger:       log,
	}
	if hook, err = connecthook.New(cfg); err != nil {
		return nil, cfg, errors.New(strings.ReplaceAll(InFlags("connecthook", err).Error(), "InsecureHTTP", "--connect-hook-insecure-http"))
	}
	return hook, cfg, nil
}

// hookSecrets reads the secrets that sign the requests of a hook, whose flag is named.
func hookSecrets(hook, file string) (secrets [][]byte, err error) {
	if file == "" {
		return nil, fmt.Errorf("--%[1]s needs --%[1]s-key-file: without a signature the backend cannot tell who asks", hook)
	}
	lines, err := secretLines(hook+"-key-file", file)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		secret, err := connecthook.ParseSecret(line)
		if err != nil {
			return nil, fmt.Errorf("--%s-key-file: %s has a secret that begins with whsec_ and is not base64", hook, file)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}
