package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"fanfare/cmd/fanfare/internal/upgrade"
	"fanfare/server/keep"
)

// Config of a keeper. All fields are required.
type Config struct {
	Path      string             // of the program
	Args      []string           // of the server
	Build     string             // version of this program
	Listeners []upgrade.Listener // that the service manager has opened; they belong to Run
	Signals   <-chan os.Signal   // for the server
	Ends      func(os.Signal) bool
	Logger    *slog.Logger
}

// Bounds of a server that dies again and again.
const (
	mostDeaths  = 5
	deathPeriod = time.Minute
	firstDelay  = 500 * time.Millisecond
)

// startTimeout bounds the steps of a new process: opening a large store after a crash takes
// minutes.
const startTimeout = time.Hour

// keeper is one Run.
type keeper struct {
	Config
	sessions  *keep.Sessions
	listeners []upgrade.Listener
	deaths    []time.Time
	ending    bool // a signal that ends the server was received
}

// Run starts the server, and again whenever it has died, until it ends by itself or cannot be
// started. It returns the exit code of the server, or an error.
func Run(cfg Config) (code int, err error) {
	k := &keeper{Config: cfg, listeners: cfg.Listeners}
	k.sessions = &keep.Sessions{Started: time.Now(), Logger: cfg.Logger}
	defer k.close()
	for first := true; ; first = false {
		served, leaving, ended, err := k.runServer()
		if err != nil {
			return 1, err
		}
		if leaving || k.ending || first && !served {
			return exitCode(ended), nil
		}
		k.Logger.Error("the server has died", "how", how(ended), "served", served, "kept", k.sessions.Len())
		delay, ok := k.backOff(time.Now())
		if !ok {
			return 1, fmt.Errorf("the server has died %d times within %v: the last time by %s", mostDeaths, deathPeriod, how(ended))
		}
		if !k.sleep(delay) {
			return 0, nil
		}
	}
}

// backOff notes a death, and returns how long to wait. ok is false if there were too many.
func (k *keeper) backOff(now time.Time) (delay time.Duration, ok bool) {
	recent := k.deaths[:0]
	for _, at := range k.deaths {
		if now.Sub(at) < deathPeriod {
			recent = append(recent, at)
		}
	}
	k.deaths = append(recent, now)
	n := len(k.deaths)
	switch {
	case n >= mostDeaths:
		return 0, false
	case n == 1: // clients need not notice it
		return 0, true
	}
	return firstDelay << (n - 2), true
}

// sleep waits, and returns false at a signal that ends the server.
func (k *keeper) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case s := <-k.Signals:
			if k.Ends(s) {
				return false
			}
		}
	}
}

// runServer runs one process. served reports whether it has got so far, leaving whether it has
// announced its end, and ended is how it ended.
func (k *keeper) runServer() (served, leaving bool, ended, err error) {
	w, socket, memory, err := keep.NewWatch()
	if err != nil {
		return false, false, nil, err
	}
	p, err := upgrade.Start(k.Path, k.Args, upgrade.Extra{Files: []*os.File{socket, memory}, Env: []string{variable + "=" + strconv.Itoa(os.Getpid())}})
	socket.Close()
	memory.Close()
	if err != nil {
		w.Stop()
		return false, false, nil, err
	}
	ready := make(chan error, 1)
	go func() { ready <- k.converse(p) }()
	for over := false; !over; {
		select {
		case err := <-ready:
			if served = err == nil; !served {
				if !k.ending {
					k.Logger.Error("the server does not start", "err", err)
				}
				p.Kill()
			}
			ready = nil
		case s := <-k.Signals:
			k.ending = k.ending || k.Ends(s)
			p.Signal(s)
		case <-p.Done():
			over = true
		}
	}
	if ready != nil {
		served = <-ready == nil
	}
	ended = p.Kill()
	had := k.sessions.Len()
	c := k.sessions.Collect(w)
	leaving = w.Leaving()
	k.takeListeners(w)
	if !leaving && (c != keep.Collected{}) || had > 0 {
		k.Logger.Info("sessions without a server", "kept", c.Kept, "closed", c.Closed, "lost", c.Lost, "waiting", had)
	}
	return served, leaving, ended, nil
}

// converse hands everything over to a new process, as a predecessor does.
func (k *keeper) converse(p *upgrade.Process) error {
	if _, err := p.Receive(upgrade.Hello, startTimeout); err != nil {
		return err
	}
	if err := p.Greet(k.Build, k.listeners); err != nil {
		return err
	}
	if _, err := p.Receive(upgrade.Ready, startTimeout); err != nil {
		return err
	}
	if err := p.Send(upgrade.Message{Step: upgrade.Store, Age: int64(time.Since(k.sessions.Started))}); err != nil {
		return err
	}
	if _, err := p.Receive(upgrade.Assembled, startTimeout); err != nil {
		return err
	}
	n, err := k.sessions.HandOver(context.Background(), p.Sessions)
	if err != nil {
		return err
	}
	if n > 0 {
		k.Logger.Info("sessions go on", "sessions", n, "pid", p.PID())
	}
	if err := p.Send(upgrade.Message{Step: upgrade.Serve}); err != nil {
		return err
	}
	_, err = p.Receive(upgrade.Serving, startTimeout)
	return err
}

// takeListeners takes the listeners of a process that has ended. One that did not get so far has
// none.
func (k *keeper) takeListeners(w *keep.Watch) {
	all, files := w.Listeners()
	if len(all) == 0 {
		return
	}
	for _, l := range k.listeners {
		l.File.Close()
	}
	k.listeners = nil
	for i, l := range all {
		k.listeners = append(k.listeners, upgrade.Listener{Name: l.Name, Flag: l.Flag, Activated: l.Activated, File: files[i]})
	}
}

// close closes what is left, and removes Unix sockets from their directories.
func (k *keeper) close() {
	k.sessions.Close()
	for _, l := range k.listeners {
		if ln, err := net.FileListener(l.File); err == nil {
			if u, ok := ln.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(!l.Activated)
			}
			ln.Close()
		}
		l.File.Close()
	}
}

// exitCode is that of a process that ended with err. One that a signal has ended has none: as
// in a shell.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return 1
}

func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
