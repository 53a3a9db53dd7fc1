package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A Proxy is HAProxy in front of a server: HAProxy ends TLS.
type Proxy struct {
	Listen  string
	Key     string                       // file name of a certificate with its key
	Backend func(listen string) []string // argument vector of the server
}

// haproxyConfig has buffers of 16 KiB, which idle connections do not keep, and timeouts that no test reaches.
const haproxyConfig = `
global
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client  1h
    timeout server  1h
    timeout tunnel  1h
frontend public
    bind %s ssl crt %s
    default_backend fanfare
backend fanfare
    server one %s
`

// Serve runs both processes until one of them fails or ctx ends.
func (p Proxy) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("peers: backend: %w", err)
	}
	backend := l.Addr().String()
	l.Close()
	config := filepath.Join(filepath.Dir(p.Key), "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, strings.TrimLeft(haproxyConfig, "\n"), p.Listen, p.Key, backend), 0o600); err != nil {
		return fmt.Errorf("peers: haproxy: %w", err)
	}
	failed := make(chan error)
	run := func(argv []string) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		if err == nil {
			err = errors.New("it has ended")
		}
		failed <- fmt.Errorf("peers: %s: %w", filepath.Base(argv[0]), err)
	}
	go run(p.Backend(backend))
	go run([]string{"haproxy", "-db", "-f", config})
	err = <-failed
	cancel()
	<-failed
	return err
}
