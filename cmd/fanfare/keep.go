package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/cmd/fanfare/internal/keeper"
	"fanfare/server/keep"
)

// signalsOnce is how long further signals count as the first one: a service manager and a
// terminal send it to the keeper, which forwards it, and to the server.
const signalsOnce = time.Second

// runKeeper runs the server as a child process, until that ends.
func (cmd *serveCmd) runKeeper() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	notifyUpgrade(signals)
	log := newLogger(&cmd.Serve, new(slog.LevelVar)).With("process", "keeper")
	in, err := inheritListeners()
	if err != nil {
		return usage(err)
	}
	if err := in.check(&cmd.Serve); err != nil {
		in.close()
		return usage(err)
	}
	listeners, err := in.files(&cmd.Serve)
	in.close()
	if err != nil {
		return err
	}
	code, err := keeper.Run(keeper.Config{
		Path: programPath(), Args: os.Args[1:], Build: buildVersion(), Listeners: listeners, Logger: log,
		Signals: signals, Ends: func(s os.Signal) bool { return s == syscall.SIGTERM || s == os.Interrupt },
	})
	if err == nil && code == exitOK {
		return nil
	}
	return &exit{code, err}
}

// startKeeping has the server describe its sessions to its keeper, if it has one.
func (p *program) startKeeping(kept *keeper.Kept) (err error) {
	if kept != nil {
		p.keeper, err = keep.Serve(context.Background(), p.srv, kept.Socket, kept.Memory, p.log)
	}
	return err
}

// tellListeners gives the listeners to the keeper, for the next process.
func (p *program) tellListeners() error {
	if p.keeper == nil {
		return nil
	}
	listeners, err := p.listeners()
	var all []keep.Listener
	var files []*os.File
	for _, l := range listeners {
		defer l.File.Close()
		all = append(all, keep.Listener{Name: l.Name, Flag: l.Flag, Activated: l.Activated})
		files = append(files, l.File)
	}
	if err != nil {
		return err
	}
	return p.keeper.Listeners(all, files)
}
