package webhook

import (
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process, which listens on nothing. It is not the one of
// package inbox, so that neither store can fill or stop the other.
type embedded struct {
	dir string // immutable

	mu     sync.Mutex
	ns     *natsserver.Server // nil: stopped; guarded by mu
	closed bool               // guarded by mu
}

// startTimeout bounds the recovery of the files.
const startTimeout = time.Minute

// embeddedPayload of the embedded server: twice the longest message of a client in base64.
const embeddedPayload = 8 << 20

// start starts a server on the files.
func (e *embedded) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.startLocked()
}

func (e *embedded) startLocked() error {
	if e.closed {
		return net.ErrClosed
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	ns, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "fanfare-webhooks", DontListen: true, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
		JetStream: true, StoreDir: e.dir, JetStreamMaxStore: math.MaxInt64 / 2, JetStreamMaxMemory: 1 << 20,
		MaxPayload: embeddedPayload, SyncInterval: time.Second,
	})
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	var said fatalLog
	ns.SetLoggerV2(&said, false, false, false)
	ns.Start()
	// A server that has reported a fatal error expects the end of the process, and is never ready.
	if said.Load() || !ns.ReadyForConnections(startTimeout) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return fmt.Errorf("webhook: the queue in %s does not start: is the disk full?", e.dir)
	}
	e.ns = ns
	return nil
}

// fatalLog notes that a server has reported a fatal error, and discards everything else.
type fatalLog struct{ atomic.Bool }

func (*fatalLog) Noticef(string, ...any)  {}
func (*fatalLog) Warnf(string, ...any)    {}
func (*fatalLog) Errorf(string, ...any)   {}
func (*fatalLog) Debugf(string, ...any)   {}
func (*fatalLog) Tracef(string, ...any)   {}
func (l *fatalLog) Fatalf(string, ...any) { l.Store(true) }

// works reports whether the server stores messages.
func (e *embedded) works() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ns != nil && e.ns.JetStreamEnabled()
}

// heal starts the server again if it has stopped JetStream, as it does when it cannot write.
func (e *embedded) heal() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ns != nil && e.ns.JetStreamEnabled() {
		return nil
	}
	e.stopLocked()
	return e.startLocked()
}

func (e *embedded) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.stopLocked()
}

func (e *embedded) stopLocked() {
	if e.ns != nil {
		e.ns.Shutdown()
		e.ns.WaitForShutdown()
		e.ns = nil
	}
}

// InProcessConn is how NATS's client connects, also to a server that was started again.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ns == nil {
		return nil, net.ErrClosed
	}
	return e.ns.InProcessConn()
}
