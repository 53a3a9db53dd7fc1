package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"fanfare/cmd/fanfare/internal/keeper"
	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/trim"
	"fanfare/cmd/fanfare/internal/upgrade"
)

// serveCmd is the command that runs the server.
type serveCmd struct {
	settings.Serve `embed:""`

	pred *upgrade.Predecessor // the process that this one replaces, or its keeper; nil: none
	kept *keeper.Kept         // what the keeper of this process has given it; nil: none
}

// Run serves until a signal. SIGHUP reloads.
func (cmd *serveCmd) Run(k *kong.Kong) error {
	if cmd.Keep && cmd.kept == nil {
		return cmd.runKeeper()
	}
	profileMemory(cmd.Pprof)
	// Signals are caught before anything listens, so that none is missed.
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer release()
	// A second signal has its usual effect, even if the first arrives while the store
	// is being opened: it ends the process at once.
	again := release
	if cmd.kept != nil {
		again = func() { time.AfterFunc(signalsOnce, release) }
	}
	context.AfterFunc(ctx, again)
	hangup := make(chan os.Signal, 1) // a reload reads everything: two signals may be one
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	usr2 := make(chan os.Signal, 1)
	notifyUpgrade(usr2)
	defer signal.Stop(usr2)

	pred := cmd.pred
	p := &program{flags: &cmd.Serve, pred: pred, args: os.Args[1:], level: new(slog.LevelVar)}
	p.log = newLogger(p.flags, p.level)
	slog.SetDefault(p.log)
	var err error
	p.path = programPath()
	if pred == nil {
		p.inherited, err = inheritListeners()
	} else {
		p.inherited, err = meet(pred, &cmd.Serve)
	}
	if err != nil {
		return usage(err)
	}
	if pred == nil {
		if err := p.inherited.check(&cmd.Serve); err != nil {
			p.inherited.close()
			return usage(err)
		}
	}
	p.asked = [2]string{cmd.Listen, cmd.API}
	p.inherited.setAddresses(&cmd.Serve)
	plan, err := cmd.Plan(p.log)
	if err != nil {
		p.inherited.close()
		return usage(err)
	}
	settings.WarnOfVariables(k.Model, p.log)
	limits := tuneRuntime()
	if pred != nil {
		if err := p.inherited.openOthers(&cmd.Serve); err != nil {
			p.inherited.close()
			return err
		}
		if err := prepareTakeOver(pred, plan); err != nil && pred.Alive() {
			p.inherited.close()
			return err
		}
	}
	if err := p.assemble(ctx, plan); err != nil {
		p.inherited.close()
		return err
	}
	if err := p.startKeeping(cmd.kept); err != nil {
		p.shutdown(context.Background())
		p.inherited.close()
		return err
	}
	if pred != nil {
		if err := p.takeOver(ctx, pred); err != nil {
			p.shutdown(context.Background())
			p.inherited.close()
			return err
		}
	}
	if err := p.listen(); err != nil {
		p.inherited.close()
		return err
	}
	if err := p.tellListeners(); err != nil {
		p.shutdown(context.Background())
		return err
	}
	if pred != nil {
		pred.Send(upgrade.Message{Step: upgrade.Serving})
		pred.Close()
	}
	control, err := p.openControl()
	if err != nil {
		p.shutdown(context.Background())
		return err
	}
	defer control.Close()
	p.useCertificates(ctx, plan.Certificates)
	p.log.Info("serving", "version", buildVersion(), "listen", reachedAt(schemeOf(cmd.PublicTLS()), p.srv.Addr()), "console", consoleURL(p.flags, p.srv.Addr()),
		"api", reachedAt(schemeOf(cmd.APITLS()), p.api.Addr()), "auth", cmd.Auth, "data_dir", p.dataDir, "transport", cmd.Transport, slog.Group("runtime", limits...))
	go trim.Run(ctx)
	m := newManager(p.log)
	m.ready(p.srv.Count())
	go m.watch(ctx, p)
	var hung error // why the store can be used by a new process only
	for ctx.Err() == nil && hung == nil {
		select {
		case <-ctx.Done():
		case <-p.storeHung():
			hung = fmt.Errorf("the store hangs: %w", p.vault.Ready())
			p.log.Error("stopping, so that a new process can use the store", "err", hung)
		case <-hangup:
			m.reloading()
			p.reload()
			m.ready(p.srv.Count())
		case <-usr2:
			if p.upgrade(ctx, m, nil) {
				control.Close()
				return p.leave()
			}
		case req := <-control.Wait():
			if p.upgrade(ctx, m, req) {
				control.Close()
				return p.leave()
			}
		}
	}
	control.Remove()
	again() // before the log says that the signal has arrived
	go func() {
		for range hangup {
			p.log.Warn("reload ignored, the server is draining")
		}
	}()
	p.drain(m)
	return hung
}

// drain closes the sessions and ends the program's parts.
func (p *program) drain(m *manager) {
	if p.keeper != nil {
		p.keeper.Leaving()
	}
	timeout := p.flags.DrainDelay + p.flags.DrainTimeout
	p.log.Info("draining", "sessions", p.srv.Count(), "delay", p.flags.DrainDelay, "timeout", p.flags.DrainTimeout)
	m.stopping(p.srv.Count(), timeout)
	bound, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := p.shutdown(bound); err != nil {
		p.log.Warn("drained", "err", err)
		return
	}
	p.log.Info("drained")
}

// newLogger returns the logger; level is set to --log-level.
func newLogger(flags *settings.Serve, level *slog.LevelVar) *slog.Logger {
	level.Set(slog.Level(flags.LogLevel))
	opts := &slog.HandlerOptions{Level: level}
	if flags.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

// schemeOf is the scheme of the URLs of a listener.
func schemeOf(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

// reachedAt is where a listener can be reached.
func reachedAt(scheme string, addr net.Addr) string {
	if addr.Network() == "unix" {
		return addressOf(addr)
	}
	return scheme + "://" + addressOf(addr) + "/"
}

// consoleURL is where the console is; empty if it is off, or no browser gets there.
func consoleURL(flags *settings.Serve, addr net.Addr) string {
	if !flags.Console || addr.Network() == "unix" || flags.Path == flags.Directory() { // where the endpoint is
		return ""
	}
	return schemeOf(flags.PublicTLS()) + "://" + addr.String() + flags.Directory()
}
