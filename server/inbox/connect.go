package inbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
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
	switch {
	case s.local != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case isAuth(err):
		return nil, fmt.Errorf("%w: NATS at %s refuses this client; check its credentials, or the user and password in the URL: %w",
			ErrUnavailable, s.where(), err)
	case errors.As(err, &certificate):
		return nil, fmt.Errorf("%w: NATS at %s: %w", ErrUnavailable, s.where(), err)
	}
	s.lost(err)
	nc, again := nats.Connect(s.cfg.URL, append(s.options(), nats.RetryOnFailedConnect(true))...)
	if again != nil { // the URL, or a file
		return nil, fmt.Errorf("inbox: %w", again)
	}
	s.log.Warn("NATS is not there yet; trying again until it is", "url", s.where(), "err", err)
	return nc, nil
}

func isAuth(err error) bool {
	for _, is := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// where NATS should be, without passwords.
func (s *Store) where() string {
	all := strings.Split(s.cfg.URL, ",")
	for i, at := range all {
		if u, err := url.Parse(strings.TrimSpace(at)); err == nil {
			all[i] = u.Redacted()
		} else {
			all[i] = "?"
		}
	}
	return strings.Join(all, ",")
}

// lost notes why there is no connection.
func (s *Store) lost(err error) {
	why := err.Error()
	s.away.Store(&why)
}

func (s *Store) noConnection() error {
	if why := s.away.Load(); why != nil && s.local == nil {
		return fmt.Errorf("%w: no connection to NATS at %s: %s", ErrUnavailable, s.where(), *why)
	}
	return fmt.Errorf("%w: no connection to NATS", ErrUnavailable)
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
				s.lost(err)
				s.log.Warn("the connection to NATS is lost", "err", err)
			}
		}),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) {
			s.lost(err)
			if s.local == nil && s.rare.now("no connection", time.Now()) {
				s.log.Warn("still no connection to NATS", "url", s.where(), "err", err)
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
			if s.rare.now(err.Error(), time.Now()) {
				s.log.Warn("nats", "err", err)
			}
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

// rarely lets through what is said again and again, such as that something is
// not permitted, once a minute. The zero value is ready.
type rarely struct {
	mu   sync.Mutex
	said map[string]time.Time // guarded by mu
}

// rarelyMost bounds the texts that are remembered.
const rarelyMost = 100

func (r *rarely) now(text string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.said[text]; ok && now.Sub(at) < time.Minute {
		return false
	}
	if r.said == nil || len(r.said) >= rarelyMost {
		r.said = make(map[string]time.Time)
	}
	r.said[text] = now
	return true
}
