package main

import (
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"time"

	"fanfare/server"
)

// reloader is a part of the program that SIGHUP changes. prepare checks what next says,
// and changes nothing; the function that it returns puts it into force. A reload prepares
// all parts before it changes the first, so that an error leaves everything as it was.
type reloader struct {
	name    string
	prepare func(p *program, next *plan) (apply func() error, err error)
}

// reloaders are the parts, in the order in which they change. A part reads its files in
// makePlan.
var reloaders = []reloader{
	{"limits", (*program).reloadLimits},
	{"TLS", (*program).reloadTLS},
	{"token keys", (*program).reloadTokens},
	{"connect hook", (*program).reloadConnectHook},
	{"API keys", (*program).reloadAPIKeys},
	{"webhooks", (*program).reloadWebhooks},
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
	next := &c.Serve
	next.adopt(p.inherited)
	plan, err := next.makePlan(p.log)
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

// noteChanges copies the flags that have changed into p.cmd, and logs the flags that need a
// restart.
func (p *program) noteChanges(next *serveCmd) (changed []string) {
	changed = []string{}
	for _, f := range flagFields {
		old, now := reflect.ValueOf(p.cmd).Elem().FieldByIndex(f.Index), reflect.ValueOf(next).Elem().FieldByIndex(f.Index)
		if reflect.DeepEqual(old.Interface(), now.Interface()) {
			continue
		}
		name := flagName(f)
		attrs := []any{"flag", "--" + name, "old", shown(old), "new", shown(now)}
		// Settings of tokens follow --auth, which needs a restart, and so does switching TLS
		// on or off, and the first webhook.
		toggled := p.togglesTLS(name, next) || strings.HasPrefix(name, "webhook") && (len(next.Webhook) == 0) != (p.webhooks == nil)
		if f.Tag.Get("live") == "" || toggled || followsAuth(name) && next.Auth != p.cmd.Auth {
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

func (p *program) reloadLimits(next *plan) (func() error, error) {
	running := p.srv.Config()
	cfg := next.server
	// Reconfigure ignores these, and Validate is to judge those in force.
	cfg.Listen, cfg.InsecureIdentity, cfg.Fallback = running.Listen, running.InsecureIdentity, running.Fallback
	cfg.Store, cfg.Cluster, cfg.DurableTopics = running.Store, running.Cluster, running.DurableTopics
	cfg.Endpoints = running.Endpoints
	for i := range cfg.Endpoints {
		unlimited := cfg.Endpoints[i].Rate.UnlimitedOnLoopback && next.cmd.development()
		cfg.Endpoints[i].Rate = next.cmd.rate()
		cfg.Endpoints[i].Rate.UnlimitedOnLoopback = unlimited
	}
	if err := cfg.Validate(); err != nil {
		return nil, inFlags("server", err)
	}
	return func() error { return p.srv.Reconfigure(cfg) }, nil
}

func (p *program) reloadTokens(next *plan) (func() error, error) {
	return func() error {
		if p.cmd.tokens != nil && next.cmd.tokenKeys != nil {
			p.cmd.tokens.SetKeys(next.cmd.tokenKeys)
		}
		return nil
	}, nil
}

func (p *program) reloadConnectHook(next *plan) (func() error, error) {
	return func() error {
		if p.cmd.hook == nil || next.cmd.hook == nil {
			return nil
		}
		return p.cmd.hook.SetConfig(next.cmd.hookConfig)
	}, nil
}

func (p *program) reloadAPIKeys(next *plan) (func() error, error) {
	cfg := p.apiConfig
	cfg.Keys = next.api.Keys
	if err := cfg.Validate(); err != nil {
		return nil, inFlags("api", err)
	}
	return func() error { return p.api.SetKeys(cfg.Keys) }, nil
}

func (p *program) reloadWebhooks(next *plan) (func() error, error) {
	return func() error {
		if p.webhooks == nil || next.hooks == nil {
			return nil
		}
		return p.webhooks.Reconfigure(*next.hooks)
	}, nil
}

func (p *program) reloadLogLevel(next *plan) (func() error, error) {
	return func() error {
		p.level.Set(slog.Level(next.cmd.LogLevel))
		return nil
	}, nil
}

// rate is the rate of the endpoints.
func (cmd *serveCmd) rate() server.Rate {
	return server.Rate{Messages: cmd.MaxMessageRate, Bytes: cmd.MaxByteRate.int()}
}

// userinfo is the part of a URL that may have a password or a token.
var userinfo = regexp.MustCompile(`(^|,)([a-z]+://)?[^,]*@`)

// shown is the value of a flag as a user would write it, without secrets.
func shown(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case size:
		return v.String()
	case flush:
		return v.String()
	case level:
		return strings.ToLower(slog.Level(v).String())
	case []network:
		var all []string
		for _, p := range prefixes(v) {
			if p.IsSingleIP() {
				all = append(all, p.Addr().String())
				continue
			}
			all = append(all, p.String())
		}
		return strings.Join(all, ",")
	case []string:
		return strings.Join(v, ",")
	case []keySet:
		var all []string
		for _, k := range v {
			all = append(all, k.String())
		}
		return strings.Join(all, " ")
	case []hookFlag:
		var all []string
		for _, h := range v {
			all = append(all, h.String())
		}
		return strings.Join(all, ",")
	default:
		return userinfo.ReplaceAllString(fmt.Sprint(v), "${1}${2}xxxxx@")
	}
}
