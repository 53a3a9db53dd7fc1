package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// manager is the service manager that started the program, which sd_notify(3) describes.
// Without one every call does nothing.
type manager struct {
	log    *slog.Logger
	socket string // NOTIFY_SOCKET; empty: none
}

func newManager(log *slog.Logger) *manager { return &manager{log, os.Getenv("NOTIFY_SOCKET")} }

func (m *manager) notify(format string, args ...any) {
	if m.socket == "" {
		return
	}
	if _, err := daemon.SdNotify(false, fmt.Sprintf(format, args...)); err != nil {
		m.log.Warn("service manager is not reachable", "err", err)
	}
}

func (m *manager) ready(sessions int) { m.notify("READY=1\nSTATUS=serving %d sessions", sessions) }

// successor tells the manager which process is the service from now on.
func (m *manager) successor(pid int) { m.notify("MAINPID=%d\nSTATUS=serving", pid) }

// reloading is followed by ready. The time is that of CLOCK_MONOTONIC, as the manager
// requires of Type=notify-reload (systemd.service(5)).
func (m *manager) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		m.log.Warn("cannot read the monotonic clock", "err", err)
	}
	m.notify("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=reading the configuration", now.Nano()/1000)
}

// stopping asks for as much time as draining may take, so that TimeoutStopSec need not
// follow the flags.
func (m *manager) stopping(sessions int, bound time.Duration) {
	m.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=closing %d sessions", (bound + stopMargin).Microseconds(), sessions)
}

// stopMargin is for what follows the drain: closing the store, and hooks that return late.
const stopMargin = storeTimeout

// watch sends WATCHDOG=1 at half of the interval that the manager has set (WATCHDOG_USEC,
// sd_watchdog_enabled(3)), as long as both listeners of p answer. It returns when ctx is
// done.
func (m *manager) watch(ctx context.Context, p *program) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("no watchdog", "err", err)
	}
	if interval <= 0 || m.socket == "" {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := errors.Join(answers(p.srv.Addr(), interval/4), answers(p.api.Addr(), interval/4)); err != nil {
			m.log.Error("watchdog is not triggered, the server does not answer", "err", oneLine(err.Error()))
			continue
		}
		m.notify("WATCHDOG=1\nSTATUS=serving %d sessions", p.srv.Count())
	}
}

// answers reports whether a listener reacts to a request. Any reaction counts: a server
// that rejects a connection, because it is full or wants TLS, works.
func answers(addr net.Addr, within time.Duration) error {
	c, err := net.DialTimeout(addr.Network(), addr.String(), within)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer from %s within %v", addr, within)
	}
	return nil
}
