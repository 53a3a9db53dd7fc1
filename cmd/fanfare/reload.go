package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fanfare/cmd/fanfare/internal/settings"
)

// reloader is a part of the program that SIGHUP changes. prepare checks what next says,
// and changes nothing; the function that it returns puts it into force. A reload prepares
// all parts before it changes the first, so that an error leaves everything as it was.
type reloader struct {
	name    string
	prepare func(p *program, next *settings.Plan) (apply func() error, err error)
}

// reloaders are the parts, in the order in which they change. A part reads its files in
// Serve.Plan.
var reloaders = []reloader{
	{"limits", (*program).reloadLimits},
	{"TLS", (*program).reloadTLS},
	{"token keys", (*program).reloadTokens},
	{"connect hook", (*program).reloadConnectHook},
	{"resume tickets", (*program).reloadTickets},
	{"message hook", (*program).reloadMessageHook},
	{"API keys", (*program).reloadAPIKeys},
	{"webhooks", (*program).reloadWebhooks},
	{"Pusher apps", (*program).reloadPusher},
	{"log level", (*program).reloadLogLevel},
}

// reload reads the command line, the environment, the config file and key files again,
// and puts into force what can change while the server runs. If anything is wrong, it
// changes nothing.
func (p *program) reload() {
	begun := time.Now()
	changed, err := p.tryReload()
	if err != nil {
		p.log.Error("reload failed, nothing is changed", "err", oneLine(err.Error()))
		return
	}
	p.log.Info("reloaded", "changed", changed, "took", time.Since(begun).Round(time.Microsecond))
}

func (p *program) tryReload() (changed []string, err error) {
	var c cli
	if _, err := parse(&c, p.args); err != nil {
		return nil, err
	}
	next := &c.Serve.Serve
	p.inherited.setAddresses(next)
	plan, err := next.Plan(p.log)
	if err != nil {
		return nil, err
	}
	var apply []func() error
	for _, r := range reloaders {
		f, err := r.prepare(p, plan)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		apply = append(apply, f)
	}
	for i, f := range apply {
		if err := f(); err != nil { // prepare has checked it
			p.log.Error("BUG: reload", "part", reloaders[i].name, "err", err)
		}
	}
	return p.noteChanges(next), nil
}

// noteChanges copies the flags that have changed into p.flags, and logs the flags that need a
// restart.
func (p *program) noteChanges(next *settings.Serve) (changed []string) {
	changed = []string{}
	inForce := p.flags.Flags()
	for i, now := range next.Flags() {
		old, name := inForce[i], now.Name
		was, is := old.String(), now.String()
		if name == "echo" && p.flags.Decided(name) != next.Decided(name) { // given as false, it turns off what is the default
			was, is = p.flags.InForce(old), next.InForce(now)
		}
		if was == is && old.Same(now) {
			continue
		}
		attrs := []any{"flag", "--" + name, "old", was, "new", is}
		// Settings of tokens follow --auth, which needs a restart, and so does switching TLS
		// on or off, the first webhook, and a message hook or tickets where there were none.
		toggled := p.togglesTLS(name, next) || strings.HasPrefix(name, "webhook") && (len(next.Webhook) == 0) != (p.webhooks == nil) ||
			name == "resume-tickets" && (next.ResumeTickets == "") != (p.tickets == nil) ||
			strings.HasPrefix(name, "message-hook") && (next.MessageHook == "") != (p.messages == nil) ||
			name == "pusher-apps" && (next.PusherApps == "") != (p.pusher == nil)
		if !now.Live || toggled || followsAuth(name) && next.Auth != p.flags.Auth {
			p.log.Warn("flag needs a restart, the old value stays", attrs...)
			continue
		}
		p.log.Info("flag changed", attrs...)
		changed = append(changed, name)
		old.Set(now)
	}
	return changed
}

// followsAuth reports whether a flag is about one way to identify clients.
func followsAuth(name string) bool {
	return name == "jwks" || strings.HasPrefix(name, "jwt-") || strings.HasPrefix(name, "connect-hook")
}

func (p *program) reloadLimits(next *settings.Plan) (func() error, error) {
	running := p.srv.Config()
	cfg := next.Server
	// Reconfigure ignores these, and Validate is to judge those in force.
	cfg.Listen, cfg.InsecureIdentity, cfg.Fallback = running.Listen, running.InsecureIdentity, running.Fallback
	cfg.Store, cfg.Cluster, cfg.DurableTopics = running.Store, running.Cluster, running.DurableTopics
	cfg.Endpoints = running.Endpoints
	for i := range cfg.Endpoints {
		unlimited := cfg.Endpoints[i].Rate.UnlimitedOnLoopback && next.Flags.Development()
		cfg.Endpoints[i].Rate = next.Flags.Rate()
		cfg.Endpoints[i].Rate.UnlimitedOnLoopback = unlimited
	}
	if err := cfg.Validate(); err != nil {
		return nil, settings.InFlags("server", err)
	}
	return func() error { return p.srv.Reconfigure(cfg) }, nil
}

func (p *program) reloadTokens(next *settings.Plan) (func() error, error) {
	return func() error {
		if p.tokens != nil && next.TokenKeys != nil {
			p.tokens.SetKeys(next.TokenKeys)
		}
		return nil
	}, nil
}

func (p *program) reloadConnectHook(next *settings.Plan) (func() error, error) {
	return func() error {
		if p.hook == nil || next.Hook == nil {
			return nil
		}
		return p.hook.SetConfig(next.HookConfig)
	}, nil
}

func (p *program) reloadTickets(next *settings.Plan) (func() error, error) {
	return func() error {
		if p.tickets == nil || next.Tickets == nil {
			return nil
		}
		return p.tickets.SetConfig(next.TicketConfig)
	}, nil
}

func (p *program) reloadMessageHook(next *settings.Plan) (func() error, error) {
	return func() error {
		if p.messages == nil || next.MessageHook == nil {
			return nil
		}
		return p.messages.SetConfig(next.MessageHookConfig)
	}, nil
}

func (p *program) reloadAPIKeys(next *settings.Plan) (func() error, error) {
	cfg := p.apiConfig
	cfg.Keys = next.API.Keys
	if err := cfg.Validate(); err != nil {
		return nil, settings.InFlags("api", err)
	}
	return func() error { return p.api.SetKeys(cfg.Keys) }, nil
}

// reloadWebhooks rejects the first webhook of a cluster that is told who is online, and the
// first presence topic or Pusher app: the sessions that are open were not counted.
func (p *program) reloadWebhooks(next *settings.Plan) (func() error, error) {
	if p.presence == nil && next.Presence != nil {
		return nil, errors.New("--webhook names user.online, user.offline, topic.occupied, topic.vacated or message.unread, or there is --presence-topic or --pusher-apps, and none was so at the start: restart the server")
	}
	return func() error {
		if p.webhooks == nil || next.Webhooks == nil {
			return nil
		}
		return p.webhooks.Reconfigure(*next.Webhooks)
	}, nil
}

func (p *program) reloadLogLevel(next *settings.Plan) (func() error, error) {
	return func() error {
		p.level.Set(slog.Level(next.Flags.LogLevel))
		return nil
	}, nil
}
