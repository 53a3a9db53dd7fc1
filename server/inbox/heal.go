package inbox

import (
	"fmt"
	"net"
	"os"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// A stream of JetStream that could not write once, because the disk was full or
// failed, answers nothing any more, until its server is started again. This is
// done here, as soon as the disk takes bytes.

// healEvery is how often that is tried.
const healEvery = time.Second

// probeSize is what must fit on the disk, so that it is not full again at once.
const probeSize = 1 << 20

// runHeal waits for the embedded server to fail, and mends it.
func (s *Store) runHeal() {
	for {
		select {
		case <-s.quit:
			return
		case says := <-s.local.log.failed:
			s.health.Load().end(s.illness(says))
		}
		s.log.Error("messages cannot be stored; trying again until they can", "err", s.sick())
		for s.sick() != nil {
			select {
			case <-s.quit:
				return
			case <-time.After(healEvery):
			}
			if s.probe() != nil {
				continue
			}
			if err := s.local.restart(); err != nil {
				s.log.Error("the store does not start", "err", err)
				continue
			}
			s.health.Store(newHealth())
			s.log.Info("messages can be stored again")
			s.missed()
		}
	}
}

// probe tries to write to the disk.
func (s *Store) probe() error {
	f, err := os.CreateTemp(s.cfg.Dir, "probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err = f.Write(make([]byte, probeSize)); err != nil {
		return err
	}
	return f.Sync()
}

// InProcessConn is how the client of NATS connects, also to a server that was
// started again.
func (e *embedded) InProcessConn() (net.Conn, error) { return e.server().InProcessConn() }

func (e *embedded) server() *natsserver.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ns
}

// start starts a server on the files.
func (e *embedded) start() error {
	opts := e.opts // it keeps what it is given, and changes that
	ns, err := natsserver.NewServer(&opts)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	ns.SetLoggerV2(e.log, false, false, false)
	e.mu.Lock()
	e.ns = ns
	e.mu.Unlock()
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) || !ns.JetStreamEnabled() {
		return fmt.Errorf("%w: the store in %s does not start: %s; restore it from a backup, or move it away to begin an empty one",
			ErrDamaged, e.opts.StoreDir, e.log.worst())
	}
	return nil
}

func (e *embedded) restart() error {
	ns := e.server()
	ns.Shutdown()
	ns.WaitForShutdown()
	select {
	case <-e.log.failed: // told before it was stopped
	default:
	}
	return e.start()
}
