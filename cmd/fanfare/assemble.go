package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"fanfare/cmd/fanfare/internal/vault"
	"fanfare/server"
	"fanfare/server/acme"
	"fanfare/server/api"
	"fanfare/server/cluster"
	"fanfare/server/console"
	"fanfare/server/inbox"
	"fanfare/server/revoke"
	"fanfare/server/webhook"
)

// program is the parts of a running server.
type program struct {
	cmd       *serveCmd // the flags in force
	args      []string  // of the command line, for a reload
	log       *slog.Logger
	level     *slog.LevelVar
	inherited *inherited
	asked     [2]string // --listen and --api, before those of inherited replaced them

	srv       *server.Server
	api       *api.API
	apiConfig api.Config
	revoked   *revoke.List  // nil: none
	acme      *acme.Manager // nil: certificates are not obtained
	page      *console.Page // nil: none
	path      string        // of the program, for an upgrade

	vault       *vault.Vault     // the store; nil: none
	storeConfig *inbox.Config    // nil: none
	dataDir     string           // of an embedded store
	webhooks    *webhook.Service // nil: none

	certsMu sync.Mutex
	secured []secured // set by useCertificates, in the order of certsPair; what is in it is guarded by certsMu
}

// assemble opens the store, joins the cluster and makes the server and the API. An error
// leaves nothing open.
func (p *program) assemble(ctx context.Context, next *plan) (err error) {
	defer func() {
		if err != nil {
			p.shutdown(context.Background())
		}
	}()
	cmd, log := p.cmd, p.log
	cfg := next.server
	if cmd.NATS != "" {
		c, err := cluster.New(ctx, cmd.cluster(log))
		if err != nil {
			return usage(inFlags("cluster", err))
		}
		cfg.Cluster = c
	}
	if next.store != nil {
		st, err := openStore(ctx, next.store)
		if err != nil {
			leave(cfg.Cluster)
			return cmd.storeError(err)
		}
		p.vault, p.storeConfig = vault.New(st), next.store
		cfg.Store, p.dataDir = p.vault, next.store.Dir
	}
	if next.revocations != nil {
		if p.revoked, err = openRevocations(ctx, *next.revocations, p.vault); err != nil {
			leave(cfg.Cluster)
			return usage(inFlags("revoke", err))
		}
		cfg.Revocations = p.revoked
		next.api.Measured = append(next.api.Measured, p.revoked)
	}
	if next.acme != nil {
		if p.acme, err = acme.New(*next.acme); err != nil {
			leave(cfg.Cluster)
			return usage(inFlags("acme", err))
		}
		cfg.TLS = server.NewTLS(p.obtained(cmd.certs.public(), cmd.certs.public().Config()))
		if c := cmd.certs.api(); c != nil {
			next.api.TLS = p.obtained(c, c.Config())
		}
	}
	if next.hooks != nil {
		if p.webhooks, err = webhook.Open(ctx, *next.hooks); err != nil {
			leave(cfg.Cluster)
			return inFlags("webhook", err)
		}
		cfg.Observer, next.api.Webhooks = p.webhooks, p.webhooks
	}
	if cmd.Console {
		page := &console.Page{Path: cmd.directory(), Endpoints: cfg.Endpoints, APIKey: len(next.api.Keys) > 0}
		cfg.Fallback, p.page = page, page
	}
	if p.srv, err = server.New(cfg); err != nil {
		leave(cfg.Cluster)
		return usage(inFlags("server", err))
	}
	if cmd.tokens != nil {
		cmd.tokens.SetKeys(cmd.tokenKeys)
		next.api.Measured = append(next.api.Measured, cmd.tokens)
	}
	if cmd.hook != nil {
		next.api.Measured = append(next.api.Measured, cmd.hook)
	}
	p.apiConfig = next.api
	if p.api, err = api.New(p.srv, next.api); err != nil {
		return usage(inFlags("api", err))
	}
	return nil
}

// listen starts both listeners. An error leaves nothing open.
func (p *program) listen() (err error) {
	defer func() {
		if err != nil {
			p.shutdown(context.Background())
		}
	}()
	if err = p.inherited.start(apiSocket, p.api.Start, p.api.Serve); err != nil {
		return startError(err)
	}
	if page := p.page; page != nil {
		page.API, page.APITLS = p.api.Addr(), p.cmd.apiTLS()
		if p.cmd.ConsolePush {
			page.Server, page.Authorizes = p.srv, p.api.Authorizes
		}
	}
	if err = p.inherited.start(publicSocket, p.srv.Start, p.srv.Serve); err != nil {
		return startError(err)
	}
	if p.acme != nil { // the authority connects to the public listener
		err = p.acme.Start(p.srv.Addr())
		if err != nil && p.cmd.pred != nil { // sessions were taken over, and are worth more
			p.log.Error("certificates are not renewed until a restart", "err", inFlags("acme", err))
			err = nil
		}
		if err != nil {
			return inFlags("acme", err)
		}
	}
	return nil
}

// openStore opens the store. If its disk is full, or its NATS is away, it opens, and is
// available later.
func openStore(ctx context.Context, cfg *inbox.Config) (*inbox.Store, error) {
	st, err := inbox.Open(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	if err := st.Ready(); err != nil {
		cfg.Logger.Warn("durable messages are not available yet", "err", err)
	}
	return st, nil
}

// leave ends a cluster that no server has joined.
func leave(c server.Cluster) {
	if c != nil {
		c.Leave()
	}
}

// shutdown drains the sessions while the API still answers, then ends both, and closes
// the store last.
func (p *program) shutdown(ctx context.Context) (err error) {
	if p.srv != nil {
		err = p.srv.Drain(ctx)
	}
	if p.api != nil {
		p.api.Shutdown()
	}
	if p.srv != nil {
		if e := p.srv.Shutdown(ctx); err == nil {
			err = e
		}
	}
	if p.acme != nil {
		p.acme.Close()
	}
	if p.webhooks != nil {
		bound, cancel := context.WithTimeout(context.Background(), webhooksTimeout)
		defer cancel()
		if e := closeWithin(storeTimeout, func() { p.webhooks.Close(bound) }); err == nil {
			err = e
		}
	}
	if p.cmd.tokens != nil {
		p.cmd.tokens.Close()
	}
	if p.cmd.hook != nil {
		p.cmd.hook.Close()
	}
	if p.revoked != nil {
		p.revoked.Close()
	}
	if p.vault != nil {
		if e := closeWithin(storeTimeout, p.vault.Close); err == nil {
			err = e
		}
	}
	return err
}

// storeTimeout is how long the store may take to close its files. An embedded NATS server
// that met a full disk at a bad moment may never stop.
const storeTimeout = 15 * time.Second

var errStoreHangs = errors.New("the store does not close; its files are as after a kill, and the next start checks them")

// closeWithin calls f and returns errStoreHangs if it takes longer than d.
func closeWithin(d time.Duration, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-time.After(d):
		return errStoreHangs
	}
}
