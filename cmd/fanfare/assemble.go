package main

import (
	"context"
	"log/slog"
	"net"

	"fanfare/server"
	"fanfare/server/api"
	"fanfare/server/cluster"
	"fanfare/server/console"
	"fanfare/server/inbox"
)

// program is the parts of a running server.
type program struct {
	srv   *server.Server
	api   *api.API     // nil: none
	store *inbox.Store // nil: none
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
	storeConfig, err := cmd.store(log)
	if err != nil {
		return p, usage(err)
	}
	if storeConfig != nil {
		if p.store, err = inbox.Open(ctx, *storeConfig); err != nil {
			if isStoreError(err) {
				return p, cmd.storeError(err)
			}
			return p, usage(inFlags(err))
		}
		cfg.Store = p.store
	}
	if cmd.NATS != "" {
		if cfg.Cluster, err = cluster.New(ctx, cmd.cluster(log)); err != nil {
			return p, usage(inFlags(err))
		}
	}
	keys, err := apiKeys(cmd.APIKeyFile)
	if err != nil {
		return p, usage(err)
	}
	page := &console.Page{}
	cfg.Fallback = page
	if p.srv, err = server.New(cfg); err != nil {
		if cfg.Cluster != nil {
			cfg.Cluster.Leave()
		}
		return p, usage(inFlags(err))
	}
	page.Endpoints = p.srv.Config().Endpoints
	if cmd.API != "" {
		apiConfig := api.Config{Listen: cmd.API, Keys: keys, Pprof: cmd.Pprof, Version: buildVersion(), Logger: log}
		if p.api, err = api.New(p.srv, apiConfig); err != nil {
			return p, usage(inFlags(err))
		}
		if err = p.api.Start(); err != nil {
			return p, startError(err)
		}
		page.API = p.api.Addr()
	}
	if err = p.srv.Start(); err != nil {
		return p, startError(err)
	}
	return p, nil
}

// shutdown drains the sessions while the API still answers, then ends both, and
// closes the store last.
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

func (p *program) apiAddr() net.Addr {
	if p.api == nil {
		return nil
	}
	return p.api.Addr()
}
