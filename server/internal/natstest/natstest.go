// Package natstest starts NATS servers for tests. Only tests import it.
package natstest

import (
	"net"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// readyWithin bounds the start of a server.
const readyWithin = 30 * time.Second

// Server is a NATS server that can be stopped, and started again on its port and with what it
// has stored.
type Server struct {
	*natsserver.Server                    // the last one that was started
	Opts               natsserver.Options // of the next start

	t testing.TB
}

// Start starts a server on the loopback address and stops it when the test ends. If opts name
// no port, the server chooses one; a JetStream without StoreDir has a temporary directory, and
// without JetStreamMaxStore room for every stream of a test, however full the disk is: the
// server would grant three quarters of what is free.
func Start(t testing.TB, opts natsserver.Options) *Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	if opts.Port == 0 {
		opts.Port = natsserver.RANDOM_PORT
	}
	if opts.JetStream && opts.StoreDir == "" {
		opts.StoreDir = t.TempDir()
	}
	if opts.JetStreamMaxStore == 0 {
		opts.JetStreamMaxStore = 64 << 30
	}
	s := &Server{Opts: opts, t: t}
	s.Start()
	t.Cleanup(s.Stop)
	s.Opts.Port = s.Addr().(*net.TCPAddr).Port
	return s
}

// Start starts the server again after Stop.
func (s *Server) Start() {
	s.t.Helper()
	opts := s.Opts // the server changes its own
	ns, err := natsserver.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = ns
	ns.Start()
	if !ns.ReadyForConnections(readyWithin) {
		s.Stop()
		s.t.Fatal("NATS does not start")
	}
}

// Stop stops the server and waits until it has ended.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}
