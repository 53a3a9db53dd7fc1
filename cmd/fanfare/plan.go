package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"fanfare/server"
	"fanfare/server/acme"
	"fanfare/server/api"
	"fanfare/server/inbox"
	"fanfare/server/listen"
	"fanfare/server/revoke"
	"fanfare/server/webhook"
)

// plan is what the flags and the files that they name say, read and validated before
// anything is opened.
type plan struct {
	cmd    *serveCmd
	server server.Config
	api    api.Config
	store  *inbox.Config   // nil: none
	acme   *acme.Config    // nil: none
	hooks  *webhook.Config // nil: no webhooks

	revocations *revoke.Config // nil: none; without a store
}

// makePlan reads the files, and checks everything that can be checked without a listener
// or a store: serve, check and a reload find the same errors.
func (cmd *serveCmd) makePlan(log *slog.Logger) (*plan, error) {
	cfg, err := cmd.config(log)
	if err != nil {
		return nil, err
	}
	keys, err := apiKeys(cmd.APIKeyFile)
	if err != nil {
		return nil, err
	}
	if n := len(os.Getenv(apiKeyEnv)); n > 0 && n < minKeyLength {
		return nil, fmt.Errorf("%s has %d bytes: want a key of at least %d", apiKeyEnv, n, minKeyLength)
	}
	if len(keys) == 0 && !listen.IsLoopback(cmd.API) {
		return nil, fmt.Errorf("--api is %s, which is not loopback: give --api-key-file, or set %s, or listen on 127.0.0.1", cmd.API, apiKeyEnv)
	}
	p := &plan{cmd: cmd, server: cfg}
	p.api = api.Config{
		Listen:          cmd.API,
		Keys:            keys,
		ReadyNeedsStore: cmd.ReadyNeedsStore,
		Pprof:           cmd.Pprof,
		ProxyProtocol:   prefixes(cmd.APIProxyProtocol),
		Version:         buildVersion(),
		Logger:          log,
	}
	if c := cmd.certs.api(); c != nil {
		p.api.TLS = new(program).obtained(c, c.Config())
	}
	if p.acme, err = cmd.acme(log); err != nil {
		return nil, err
	}
	p.revocations = cmd.revocations(log)
	if p.store, err = cmd.inboxFlags.store(cmd.MaxPayload, log); err != nil {
		return nil, err
	}
	if p.hooks, err = cmd.webhooks(p.store, log); err != nil {
		return nil, err
	}
	return p, p.validate()
}

// validate checks the configurations of all packages.
func (p *plan) validate() error {
	var errs []error
	cfg := p.server
	if p.store != nil {
		cfg.Store = (*inbox.Store)(nil) // Validate asks only whether there is one
		if err := p.store.Validate(); err != nil {
			errs = append(errs, inFlags("inbox", err))
		}
	}
	if p.cmd.NATS != "" && len(errs) == 0 { // both packages check the same URL
		if err := p.cmd.cluster(cfg.Logger).Validate(); err != nil {
			errs = append(errs, inFlags("cluster", err))
		}
	}
	if p.acme != nil && len(errs) == 0 { // likewise
		if err := p.acme.Validate(); err != nil {
			errs = append(errs, inFlags("acme", err))
		}
	}
	if p.hooks != nil && len(errs) == 0 { // likewise
		if err := p.hooks.Validate(); err != nil {
			errs = append(errs, inFlags("webhook", err))
		}
	}
	if p.revocations != nil {
		if err := p.revocations.Validate(); err != nil {
			errs = append(errs, inFlags("revoke", err))
		}
	}
	if err := cfg.Validate(); err != nil {
		errs = append(errs, inFlags("server", err))
	}
	if err := p.api.Validate(); err != nil {
		errs = append(errs, inFlags("api", err))
	}
	return errors.Join(errs...)
}
