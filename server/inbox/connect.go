package inbox

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// connect to NATS. A connection that breaks is made again, forever.
func (s *Store) connect() (*nats.Conn, error) {
	cfg := &s.cfg
	opts := []nats.Option{
		nats.Name("fanfare"),
		nats.MaxReconnects(-1),
		nats.NoEcho(), // what a node sends to others is not for itself
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		// What cannot be sent is refused, not kept: the one who pushes is told.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.log.Warn("the connection to NATS is lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			s.log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
			if again := s.again.Load(); again != nil {
				(*again)()
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			s.log.Warn("nats", "err", err)
		}),
	}
	if s.local != nil {
		opts = append(opts, nats.InProcessServer(s.local.ns))
	}
	if cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
	}
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nc, nil
}
