package main

import (
	"context"
	"errors"
	"log/slog"

	"fanfare/server"
	"fanfare/server/api"
	"fanfare/server/cluster"
	"fanfare/server/console"
	"fanfare/server/inbox"
)

// program is the parts of a running server.
type program struct {
	srv     *server.Server
	api     *api.API
	store   *inbox.Store // nil: none
	dataDir string       // of an embedded store
}

// assemble opens the store, joins the cluster and starts both listeners. An error
// leaves nothing open.
func (cmd *serveCmd) assemble(ctx context.Context, cfg server.Config, log *slog.Logger) (p *program, err error) {
	p = new(program)
	defer func() {
		if err != nil {
			p.shutdown(context.Background())
		}
	}()
	keys, err := apiKeys(cmd.APIKeyFile)
	if err != nil {
		return p, usage(err)
	}
	apiConfig := api.Config{
		Listen:          cmd.API,
		Keys:            keys,
		ReadyNeedsStore: cmd.ReadyNeedsStore,
		Pprof:           cmd.Pprof,
		Version:         buildVersion(),
		Logger:          log,
	}
	storeConfig, err := cmd.inboxFlags.store(cmd.MaxPayload, log)
	if err != nil {
		return p, usage(err)
	}
	// What the user has written is checked before the store is opened, which may take
	// long and leaves files.
	if err := validate(cfg, apiConfig, storeConfig); err != nil {
		return p, usage(err)
	}
	if cmd.NATS != "" {
		c, err := cluster.New(ctx, cmd.cluster(log))
		if err != nil {
			return p, usage(inFlags("cluster", err))
		}
		cfg.Cluster = c
	}
	if storeConfig != nil {
		if p.store, err = openStore(ctx, storeConfig); err != nil {
			leave(cfg.Cluster)
			return p, cmd.storeError(err)
		}
		cfg.Store, p.dataDir = p.store, storeConfig.Dir
	}
	var page *console.Page
	if cmd.Console {
		page = &console.Page{Path: cmd.directory(), Endpoints: cfg.Endpoints, APIKey: len(keys) > 0}
		cfg.Fallback = page
	}
	if p.srv, err = server.New(cfg); err != nil {
		leave(cfg.Cluster)
		return p, usage(inFlags("server", err))
	}
	if p.api, err = api.New(p.srv, apiConfig); err != nil {
		return p, usage(inFlags("api", err))
	}
	if err = p.api.Start(); err != nil {
		return p, startError(err)
	}
	if page != nil {
		page.API = p.api.Addr()
		if cmd.ConsolePush {
			page.Server, page.Admits = p.srv, p.api.Admits
		}
	}
	if err = p.srv.Start(); err != nil {
		return p, startError(err)
	}
	return p, nil
}

// validate checks the configurations. That of the store is nil if there is none.
func validate(cfg server.Config, apiConfig api.Config, storeConfig *inbox.Config) error {
	var errs []error
	if storeConfig != nil {
		cfg.Store = (*inbox.Store)(nil) // Validate asks only whether there is one
		if err := storeConfig.Validate(); err != nil {
			errs = append(errs, inFlags("inbox", err))
		}
	}
	if err := cfg.Validate(); err != nil {
		errs = append(errs, inFlags("server", err))
	}
	if err := apiConfig.Validate(); err != nil {
		errs = append(errs, inFlags("api", err))
	}
	return errors.Join(errs...)
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
	if p.store != nil {
		p.store.Close()
	}
	return err
}
