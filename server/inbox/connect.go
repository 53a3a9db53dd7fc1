package inbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// connect to NATS. A connection that breaks is made again, forever, and so is one
// to an outside NATS that is not there yet. What no waiting mends is an error.
func (s *Store) connect() (*nats.Conn, error) {
	nc, err := nats.Connect(s.cfg.URL, s.options()...)
	if err == nil {
		return nc, nil
	}
	var certificate *tls.CertificateVerificationError
	if s.local != nil || errors.Is(err, nats.ErrAuthorization) || errors.As(err, &certificate) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.log.Warn("NATS is not there yet", "err", err)
	nc, again := nats.Connect(s.cfg.URL, append(s.options(), nats.RetryOnFailedConnect(true))...)
	if again != nil { // the URL, or a file
		return nil, fmt.Errorf("inbox: %w", again)
	}
	return nc, nil
}

func (s *Store) options() []nats.Option {
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
		nats.IgnoreAuthErrorAbort(), // credentials may be replaced meanwhile
		nats.ConnectHandler(func(nc *nats.Conn) {
			if s.local == nil {
				s.log.Info("connected to NATS", "url", nc.ConnectedUrlRedacted())
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			s.log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
			s.missed()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			s.log.Warn("nats", "err", err)
			if errors.Is(err, nats.ErrSlowConsumer) {
				s.missed() // it has dropped some
			}
		}),
	}
	if s.local != nil {
		opts = append(opts, nats.InProcessServer(s.local))
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
	return opts
}

// missed: other nodes may have told this one something that did not arrive.
func (s *Store) missed() {
	if again := s.again.Load(); again != nil {
		(*again)()
	}
}
