package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/upgrade"
	"fanfare/server"
	"fanfare/server/listen"
)

// upgradeCmd asks a server to be replaced.
type upgradeCmd struct {
	Control string        `help:"Control socket of the server; by default where serve has it." placeholder:"PATH"`
	DataDir string        `help:"The --data-dir of the server, where its control socket is by default." placeholder:"DIR"`
	Timeout time.Duration `help:"How long to wait for the end of the upgrade." default:"2m"`
}

// Help is shown by fanfare upgrade --help.
func (upgradeCmd) Help() string {
	return "A new process, of the program file and the configuration as they are now, takes over the listeners and " +
		"all sessions of the running one. Clients notice nothing. If the new process fails, the running one goes on. " +
		"SIGUSR2 does the same without an answer."
}

// Run asks, and prints what happened.
func (cmd *upgradeCmd) Run() error {
	path := cmd.Control
	if path == "" {
		if path = defaultControl(settings.DataDir(cmd.DataDir, slog.New(slog.DiscardHandler))); path == "" {
			return usage(errors.New("no control socket is known: give --control, or --data-dir"))
		}
	}
	a, err := upgrade.Ask(path, cmd.Timeout)
	switch {
	case err != nil:
		return fmt.Errorf("--control %s: %w", path, err)
	case a.Error != "":
		return fmt.Errorf("the upgrade failed, and the server goes on as before: %s", a.Error)
	}
	fmt.Printf("process %d, %s, has taken over %d connections in %.3fs; the longest pause was %.3fs\n", a.PID, a.Build, a.Sessions, a.Seconds, a.Pause)
	if a.Left > 0 {
		fmt.Printf("%d connections cannot be handed over, and are being closed with 1012\n", a.Left)
	}
	return nil
}

// noControl turns the control socket off.
const noControl = "none"

// controlPath returns where the control socket is; empty: there is none.
func controlPath(control, dataDir string) string {
	switch control {
	case noControl:
		return ""
	case "":
		return defaultControl(dataDir)
	}
	return control
}

// defaultControl is in the directory that systemd has made for the service, which is emptied
// at its end, or else beside the durable messages.
func defaultControl(dataDir string) string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		dataDir = filepath.SplitList(dir)[0]
	}
	if dataDir == "" {
		return ""
	}
	return filepath.Join(dataDir, "control.sock")
}

// openControl opens the control socket. One at its default place is not required.
func (p *program) openControl() (*upgrade.Socket, error) {
	path := controlPath(p.flags.Control, p.dataDir)
	if path == "" {
		return nil, nil
	}
	s, err := upgrade.Listen(path)
	if err != nil && p.flags.Control == "" {
		p.log.Warn("no control socket; SIGUSR2 still asks for an upgrade", "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--control: %w", err)
	}
	return s, nil
}

// programPath returns the file of the program as it was started, so that a link that
// points to another version later is followed then. It is empty if the system does not tell.
func programPath() string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable()
	}
	return path
}

// stepTimeout bounds what the new process does at once.
const stepTimeout = 5 * time.Second

// upgrade replaces this process by a new one, and reports whether it has: then only
// connections are left that the new one cannot serve.
func (p *program) upgrade(ctx context.Context, m *manager, req *upgrade.Request) bool {
	began := time.Now()
	p.log.Info("upgrade begins", "program", p.path, "sessions", p.srv.Count())
	ctx, cancel := context.WithTimeout(ctx, p.flags.UpgradeTimeout)
	defer cancel()
	next, build, h, err := p.tryUpgrade(ctx, m)
	took := time.Since(began)
	if err != nil {
		p.log.Error("upgrade failed, this process goes on", "err", oneLine(err.Error()), "took", took)
		req.Answer(upgrade.Answer{Error: oneLine(err.Error())})
		return false
	}
	p.log.Info("upgraded", "pid", next.PID(), "version", build, "connections", h.Sessions, "left", h.Left,
		"rounds", h.Rounds, "longest_pause", h.Longest, "moving", h.Took, "took", took)
	req.Answer(upgrade.Answer{PID: next.PID(), Build: build, Sessions: h.Sessions, Left: h.Left, Seconds: took.Seconds(), Pause: h.Longest.Seconds()})
	next.Release()
	return true
}

// tryUpgrade starts the new process and hands everything over. After an error that process
// has ended, and this one is as before.
func (p *program) tryUpgrade(ctx context.Context, m *manager) (next *upgrade.Process, build string, h *server.Handover, err error) {
	if os.Getpid() == 1 {
		return nil, "", nil, errors.New("this process has the ID 1, and the container ends with it: run it under an init process, such as docker run --init")
	}
	if p.keeper != nil {
		return nil, "", nil, errors.New("--keep is set, and the keeper runs one process at a time: restart the server instead, or kill its child process with SIGKILL, which idle sessions survive")
	}
	if p.webhooks != nil {
		return nil, "", nil, errors.New("--webhook is set, and the queue of events cannot be handed over: restart the server instead")
	}
	if p.path == "" {
		return nil, "", nil, errors.New("the file of this program is not known: start it by its path")
	}
	listeners, err := p.listeners()
	defer func() {
		for _, l := range listeners {
			l.File.Close()
		}
	}()
	if err != nil {
		return nil, "", nil, err
	}
	if next, err = upgrade.Start(p.path, p.args, upgrade.Extra{}); err != nil {
		return nil, "", nil, err
	}
	released := false
	defer func() {
		if err == nil {
			return
		}
		select {
		case <-next.Done(): // it has ended by itself
			if ended := next.Kill(); ended != nil {
				err = fmt.Errorf("%w; the new process ended with %w", err, ended)
			}
		default:
			next.Kill()
		}
		if released {
			p.takeStoreBack()
		}
	}()
	stop := context.AfterFunc(ctx, func() { next.Peer.Interrupt() })
	defer stop()
	hello, err := next.Receive(upgrade.Hello, p.flags.UpgradeTimeout)
	if err != nil {
		return next, "", nil, err
	}
	if err = next.Greet(buildVersion(), listeners); err != nil {
		return next, "", nil, err
	}
	if _, err = next.Receive(upgrade.Ready, p.flags.UpgradeTimeout); err != nil {
		return next, "", nil, err
	}
	if p.vault != nil && p.dataDir != "" {
		released = true
		if err = p.releaseStore(ctx); err != nil {
			return next, "", nil, err
		}
	}
	if err = next.Send(upgrade.Message{Step: upgrade.Store, Age: int64(time.Since(p.srv.Started()))}); err != nil {
		return next, "", nil, err
	}
	if _, err = next.Receive(upgrade.Assembled, p.flags.UpgradeTimeout); err != nil {
		return next, "", nil, err
	}
	if h, err = p.srv.HandOver(ctx, next.Sessions); err != nil {
		return next, "", nil, err
	}
	// The new process has the sessions: nothing is taken back from here on. The service manager
	// takes its messages for those of the service once it knows the process.
	m.successor(next.PID())
	if p.acme != nil { // its port and its locks
		p.acme.Close()
		p.acme = nil
	}
	if e := next.Send(upgrade.Message{Step: upgrade.Serve}); e == nil {
		_, e = next.Receive(upgrade.Serving, stepTimeout)
		if e != nil {
			p.log.Error("the new process does not confirm that it serves", "err", e)
		}
	}
	return next, hello.Build, h, nil
}

// listeners returns duplicates of the descriptors of the listeners.
func (p *program) listeners() (all []upgrade.Listener, err error) {
	public, err := p.srv.ListenerFile()
	if err != nil {
		return nil, err
	}
	all = append(all, upgrade.Listener{Name: publicSocket, Flag: p.asked[0], Activated: p.inherited.activated(publicSocket), File: public})
	api, err := p.api.ListenerFile()
	if err != nil {
		return all, err
	}
	return append(all, upgrade.Listener{Name: apiSocket, Flag: p.asked[1], Activated: p.inherited.activated(apiSocket), File: api}), nil
}

// releaseStore closes the store for the new process.
func (p *program) releaseStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var closing func()
	err := p.srv.ReleaseStore(ctx, func() {
		if st := p.vault.Detach(); st != nil {
			closing = st.Close
		}
	})
	if err != nil || closing == nil {
		return err
	}
	return closeWithin(storeTimeout, closing)
}

// takeStoreBack opens the store again. While that fails, because of its files, durable messages
// wait, and then are rejected.
func (p *program) takeStoreBack() {
	if p.vault.Ready() == nil { // it was not detached
		p.srv.RestoreStore()
		return
	}
	st, err := openStore(context.Background(), p.storeConfig)
	if err != nil {
		p.log.Error("the store does not open again; durable messages are rejected until a restart", "err", storeError(err, p.flags.NATS != ""))
	} else {
		p.vault.Attach(st)
	}
	p.srv.RestoreStore()
}

// leaveGrace is how long connections of the API may stay idle after an upgrade.
const leaveGrace = 5 * time.Second

// leave ends what is left of this process after an upgrade.
func (p *program) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.flags.DrainTimeout)
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		ctx, cancel := context.WithTimeout(ctx, leaveGrace)
		defer cancel()
		p.api.Leave(ctx)
	}()
	err := p.srv.DrainNow(ctx)
	<-left
	if e := p.srv.Shutdown(ctx); err == nil {
		err = e
	}
	if err != nil {
		p.log.Warn("left", "err", err)
		return nil
	}
	p.log.Info("left")
	return nil
}

// meet greets the process that this one replaces, and returns its listeners, as far as the
// flags name the same addresses.
func meet(pred *upgrade.Predecessor, flags *settings.Serve) (*inherited, error) {
	if err := pred.Greet(buildVersion(), nil); err != nil {
		return nil, err
	}
	hello, err := pred.Receive(upgrade.Hello, stepTimeout)
	if err != nil {
		return nil, err
	}
	in := &inherited{by: make(map[string]net.Listener), managed: make(map[string]bool)}
	for _, l := range hello.Listeners {
		flag, addr := "listen", flags.Listen
		if l.Name == apiSocket {
			flag, addr = "api", flags.API
		}
		ln, err := net.FileListener(l.File)
		l.File.Close()
		if err != nil {
			in.close()
			return nil, fmt.Errorf("upgrade: %s listener: %w", l.Name, err)
		}
		if addr != l.Flag && !sameAddress(addr, ln.Addr()) && !(l.Activated && !flags.Given(flag)) {
			ln.Close()
			continue
		}
		in.by[l.Name], in.managed[l.Name] = ln, l.Activated
	}
	return in, nil
}

// openOthers opens the listeners at addresses that the predecessor does not have, before it
// gives up anything.
func (in *inherited) openOthers(flags *settings.Serve) error {
	for _, l := range []struct{ name, addr string }{{publicSocket, flags.Listen}, {apiSocket, flags.API}} {
		if in.by[l.name] != nil {
			continue
		}
		ln, err := listen.Open(l.addr)
		if err != nil {
			return startError(err)
		}
		in.by[l.name] = ln
	}
	return nil
}

// prepareTakeOver tells the predecessor that the configuration is valid, and returns when it
// has closed the store.
func prepareTakeOver(pred *upgrade.Predecessor, next *settings.Plan) error {
	if err := pred.Send(upgrade.Message{Step: upgrade.Ready}); err != nil {
		return err
	}
	m, err := pred.Receive(upgrade.Store, storeTimeout+2*stepTimeout)
	if err != nil {
		return err
	}
	next.Server.Started = time.Now().Add(-time.Duration(m.Age))
	return nil
}

// takeOver takes the sessions of the predecessor, and returns when this process is to serve the
// listeners. If the predecessor has died, it is to do so at once.
func (p *program) takeOver(ctx context.Context, pred *upgrade.Predecessor) error {
	n, err := 0, pred.Send(upgrade.Message{Step: upgrade.Assembled})
	if err == nil {
		n, err = p.srv.TakeOver(ctx, pred.Sessions)
	}
	if err != nil {
		if pred.Alive() {
			return err
		}
		p.log.Error("the old process has died during the upgrade", "err", err, "connections", n)
		return nil
	}
	if _, err := pred.Receive(upgrade.Serve, stepTimeout); err != nil {
		p.log.Warn("the old process does not say that this one may serve", "err", err)
	}
	return nil
}
