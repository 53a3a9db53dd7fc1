package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"fanfare/server"
	"fanfare/server/acme"
	"fanfare/server/api"
	"fanfare/server/auth"
	"fanfare/server/cluster"
	"fanfare/server/connecthook"
	"fanfare/server/inbox"
	"fanfare/server/listen"
	"fanfare/server/messagehook"
	"fanfare/server/messagenats"
	"fanfare/server/presence"
	"fanfare/server/pusher"
	"fanfare/server/revoke"
	"fanfare/server/ticket"
	"fanfare/server/webhook"
)

// Plan is what the flags and the files that they name say, read and validated before
// anything is opened.
type Plan struct {
	Flags       *Serve
	Server      server.Config
	API         api.Config
	Cluster     *cluster.Config  // nil: a single node
	Store       *inbox.Config    // nil: none
	ACME        *acme.Config     // nil: none
	Webhooks    *webhook.Config  // nil: none
	Presence    *presence.Config // nil: none, or no webhook receives it
	Pusher      *pusher.Config   // nil: no apps
	Revocations *revoke.Config   // nil: none; without a store

	Certificates Certificates

	// What identifies clients is in the endpoints of Server, too.
	TokenKeys  *auth.Keys        // nil: not --auth jwt
	Tokens     *auth.Tokens      // likewise; without keys
	Hook       *connecthook.Hook // nil: not --auth hook
	HookConfig connecthook.Config

	Tickets      *ticket.Tickets // nil: no resume tickets
	TicketConfig ticket.Config

	// MessageHook is in the endpoints of Server, too.
	MessageHook       *messagehook.Hook // nil: none
	MessageHookConfig messagehook.Config
	MessageSubject    *messagenats.Config // nil: none
}

// Plan reads the files, and checks everything that can be checked without a listener
// or a store: serve, check and a reload find the same errors.
func (cmd *Serve) Plan(log *slog.Logger) (*Plan, error) {
	p := &Plan{Flags: cmd}
	var err error
	if p.Server, err = cmd.config(p, log); err != nil {
		return nil, err
	}
	keys, err := APIKeys(cmd.APIKeyFile)
	if err != nil {
		return nil, err
	}
	if n := len(os.Getenv(APIKeyEnv)); n > 0 && n < minKeyLength {
		return nil, fmt.Errorf("%s has %d bytes: want a key of at least %d", APIKeyEnv, n, minKeyLength)
	}
	if len(keys) == 0 && !listen.IsLoopback(cmd.API) {
		return nil, fmt.Errorf("--api is %s, which is not loopback: give --api-key-file, or set %s, or listen on 127.0.0.1", cmd.API, APIKeyEnv)
	}
	p.API = api.Config{
		Listen:          cmd.API,
		Keys:            keys,
		ReadyNeedsStore: cmd.ReadyNeedsStore,
		Pprof:           cmd.Pprof,
		ProxyProtocol:   prefixes(cmd.APIProxyProtocol),
		Logger:          log,
	}
	if c := p.Certificates.API(); c != nil {
		p.API.TLS = c.Obtained(nil, c.Config())
	}
	if p.Store, err = cmd.inboxFlags.store(cmd.MaxPayload, log); err != nil {
		return nil, err
	}
	if p.ACME, err = cmd.acme(p.Store, log); err != nil {
		return nil, err
	}
	p.Revocations = cmd.revocations(log)
	p.Cluster = cmd.cluster(log)
	if p.Webhooks, err = cmd.webhooks(p.Store, log); err != nil {
		return nil, err
	}
	p.Presence = cmd.presence(log)
	if p.Pusher, err = cmd.pusher(&p.Server, p.Store != nil, log); err != nil {
		return nil, err
	}
	p.Server.OtherDescriptors = cmd.descriptors(p.Pusher, p.ACME)
	return p, p.validate()
}

// validate checks the configurations of all packages.
func (p *Plan) validate() error {
	var errs []error
	cfg := p.Server
	if p.Store != nil {
		cfg.Store = (*inbox.Store)(nil) // Validate asks only whether there is one
		if err := p.Store.Validate(); err != nil {
			errs = append(errs, InFlags("inbox", err))
		}
	}
	if p.Cluster != nil && len(errs) == 0 { // both packages check the same URL
		if err := p.Cluster.Validate(); err != nil {
			errs = append(errs, InFlags("cluster", err))
		}
	}
	if p.ACME != nil && len(errs) == 0 { // likewise
		if err := p.ACME.Validate(); err != nil {
			errs = append(errs, InFlags("acme", err))
		}
	}
	if p.Webhooks != nil && len(errs) == 0 { // likewise
		if err := p.Webhooks.Validate(); err != nil {
			errs = append(errs, InFlags("webhook", err))
		}
	}
	if p.Revocations != nil {
		if err := p.Revocations.Validate(); err != nil {
			errs = append(errs, InFlags("revoke", err))
		}
	}
	if err := cfg.Validate(); err != nil {
		errs = append(errs, InFlags("server", err))
	}
	if err := p.API.Validate(); err != nil {
		errs = append(errs, InFlags("api", err))
	}
	return errors.Join(errs...)
}
