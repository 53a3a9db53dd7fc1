package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/upgrade"
	"fanfare/cmd/fanfare/internal/vault"
	"fanfare/server"
	"fanfare/server/acme"
	"fanfare/server/api"
	"fanfare/server/auth"
	"fanfare/server/cluster"
	"fanfare/server/connecthook"
	"fanfare/server/console"
	"fanfare/server/inbox"
	"fanfare/server/keep"
	"fanfare/server/messagehook"
	"fanfare/server/messagenats"
	"fanfare/server/presence"
	"fanfare/server/pusher"
	"fanfare/server/revoke"
	"fanfare/server/ticket"
	"fanfare/server/webhook"
)

// program is the parts of a running server.
type program struct {
	flags     *settings.Serve      // the flags in force
	pred      *upgrade.Predecessor // the process that this one replaces; nil: none
	args      []string             // of the command line, for a reload
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
	keeper    *keep.Link    // nil: no --keep

	vault       *vault.Vault         // the store; nil: none
	storeConfig *inbox.Config        // nil: none
	dataDir     string               // of an embedded store
	webhooks    *webhook.Service     // nil: none
	tokens      *auth.Tokens         // nil: not --auth jwt
	hook        *connecthook.Hook    // nil: not --auth hook
	tickets     *ticket.Tickets      // nil: no resume tickets
	messages    *messagehook.Hook    // nil: no --message-hook
	subject     *messagenats.Subject // nil: no --message-subject
	presence    *presence.Service    // nil: none
	pusher      *pusher.Service      // nil: none

	certsMu sync.Mutex
	secured []secured // set by useCertificates, in the order of settings.Certificates; what is in it is guarded by certsMu
}

// assemble opens the store, joins the cluster and makes the server and the API. An error
// leaves nothing open.
func (p *program) assemble(ctx context.Context, next *settings.Plan) (err error) {
	cfg := next.Server
	defer func() {
		if err == nil {
			return
		}
		if p.srv == nil && cfg.Cluster != nil { // no server has joined it
			cfg.Cluster.Leave()
		}
		p.shutdown(context.Background())
	}()
	p.tokens, p.hook, p.tickets, p.messages = next.Tokens, next.Hook, next.Tickets, next.MessageHook
	if next.Cluster != nil {
		c, err := cluster.New(ctx, *next.Cluster)
		if err != nil {
			return usage(settings.InFlags("cluster", err))
		}
		cfg.Cluster = c
	}
	if next.Store != nil {
		st, err := openStore(ctx, next.Store)
		if err != nil {
			return storeError(err, p.flags.NATS != "")
		}
		p.vault, p.storeConfig = vault.New(st), next.Store
		cfg.Store, p.dataDir = p.vault, next.Store.Dir
	}
	if next.Revocations != nil {
		if p.revoked, err = openRevocations(ctx, *next.Revocations, p.vault); err != nil {
			return usage(settings.InFlags("revoke", err))
		}
		cfg.Revocations = p.revoked
		next.API.Measured = append(next.API.Measured, p.revoked)
	}
	if next.ACME != nil {
		if p.acme, err = acme.New(*next.ACME); err != nil {
			return usage(settings.InFlags("acme", err))
		}
		c := next.Certificates.Public()
		cfg.TLS = server.NewTLS(p.obtained(c, c.Config()))
		if c := next.Certificates.API(); c != nil {
			next.API.TLS = p.obtained(c, c.Config())
		}
	}
	if next.Webhooks != nil {
		next.Webhooks.Store = cfg.Store
		if p.webhooks, err = webhook.Open(ctx, *next.Webhooks); err != nil {
			return settings.InFlags("webhook", err)
		}
		cfg.Observer, cfg.Escalator, next.API.Webhooks = p.webhooks, p.webhooks, p.webhooks
	} else if p.dataDir != "" {
		warnOfWaiting(ctx, settings.WebhooksDir(p.dataDir), p.log)
	}
	if next.Presence != nil {
		shared := *next.Presence
		if p.webhooks != nil {
			shared.Reporter, shared.Next = p.webhooks, p.webhooks
		}
		if p.presence, err = presence.Open(shared); err != nil {
			return usage(settings.InFlags("presence", err))
		}
		if cfg.Observer = p.presence; p.webhooks != nil {
			next.API.LastSeen = p.presence
		}
		next.API.Measured = append(next.API.Measured, p.presence)
	}
	if p.flags.Console {
		page := &console.Page{Path: p.flags.Directory(), Endpoints: cfg.Endpoints, APIKey: len(next.API.Keys) > 0}
		cfg.Fallback, p.page = page, page
	}
	if next.MessageSubject != nil {
		if p.subject, err = messagenats.Open(*next.MessageSubject); err != nil {
			return usage(settings.InFlags("messagenats", err))
		}
		cfg.Endpoints[0].Respond = p.subject.Respond // the first is that of --path
		next.API.Measured = append(next.API.Measured, p.subject)
		next.API.Parts = append(next.API.Parts, api.Part{Name: "message subject", Ready: p.subject.Ready})
	}
	if next.Pusher != nil {
		if err := p.servePusher(&cfg, next.Pusher); err != nil {
			return err
		}
	}
	cfg.Version = buildVersion()
	if p.srv, err = server.New(cfg); err != nil {
		return usage(settings.InFlags("server", err))
	}
	if p.presence != nil {
		p.presence.Serve(p.srv)
	}
	if p.pusher != nil {
		if err = p.pusher.Serve(p.srv); err != nil {
			return err
		}
	}
	if p.tokens != nil {
		p.tokens.SetKeys(next.TokenKeys)
		next.API.Measured = append(next.API.Measured, p.tokens)
		next.API.Parts = append(next.API.Parts, api.Part{Name: "keys", Ready: p.tokens.Ready, Usable: p.tokens.Usable})
	}
	if p.hook != nil {
		next.API.Measured = append(next.API.Measured, p.hook)
		next.API.Parts = append(next.API.Parts, api.Part{Name: "connect hook", Ready: p.hook.Ready})
	}
	if p.tickets != nil {
		next.API.Measured = append(next.API.Measured, p.tickets)
	}
	if p.messages != nil {
		next.API.Measured = append(next.API.Measured, p.messages)
		next.API.Parts = append(next.API.Parts, api.Part{Name: "message hook", Ready: p.messages.Ready})
	}
	next.API.Version = buildVersion()
	p.apiConfig = next.API
	if p.api, err = api.New(p.srv, next.API); err != nil {
		return usage(settings.InFlags("api", err))
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
		page.API, page.APITLS = p.api.Addr(), p.flags.APITLS()
		if p.flags.ConsolePush {
			page.Server, page.Authorizes = p.srv, p.api.Authorizes
		}
	}
	if err = p.inherited.start(publicSocket, p.srv.Start, p.srv.Serve); err != nil {
		return startError(err)
	}
	if p.acme != nil { // the authority connects to the public listener
		err = p.acme.Start(p.srv.Addr())
		if err != nil && p.pred != nil { // sessions were taken over, and are worth more
			p.log.Error("certificates are not renewed until a restart", "err", settings.InFlags("acme", err))
			err = nil
		}
		if err != nil {
			return settings.InFlags("acme", err)
		}
	}
	return nil
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
	if p.presence != nil {
		if e := closeWithin(storeTimeout, p.presence.Close); err == nil {
			err = e
		}
	}
	if p.pusher != nil { // which presence reports to
		p.pusher.Close()
	}
	if p.webhooks != nil {
		bound, cancel := context.WithTimeout(context.Background(), webhooksTimeout)
		defer cancel()
		if e := closeWithin(storeTimeout, func() { p.webhooks.Close(bound) }); err == nil {
			err = e
		}
	}
	if p.tokens != nil {
		p.tokens.Close()
	}
	if p.hook != nil {
		p.hook.Close()
	}
	if p.messages != nil {
		p.messages.Close()
	}
	if p.subject != nil {
		p.subject.Close()
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

// startError is the one line that says why a listener cannot be opened.
func startError(err error) error {
	var op *net.OpError
	var errno syscall.Errno
	if errors.As(err, &op) && op.Op == "listen" && op.Addr != nil && errors.As(op, &errno) {
		return fmt.Errorf("cannot listen on %s: %w; --listen and --api choose where", op.Addr, errno)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "server: "))
}

// warnOfWaiting logs what waits for webhooks in a directory, because there are none any more.
func warnOfWaiting(ctx context.Context, dir string, log *slog.Logger) {
	switch w, err := webhook.LookAt(ctx, dir); {
	case err != nil:
		log.Warn("what waits for webhooks is not known", "dir", dir, "err", err)
	case w.Batches > 0 || w.Escalations > 0:
		log.Warn("no --webhook is given, and what an earlier start has left for webhooks waits", "dir", dir,
			"batches", w.Batches, "escalations", w.Escalations)
	}
}

// webhooksTimeout is how long a drained server waits for webhooks to accept what is queued.
const webhooksTimeout = 3 * time.Second
