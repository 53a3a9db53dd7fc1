package api

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strings"

	"fanfare/server/internal/field"
	"fanfare/server/internal/secure"
	"fanfare/server/listen"
)

// Config configures an API. Zero is the safe default of every field but Listen.
type Config struct {
	// Listen is the address of the listener, as for listen.Open.
	Listen string
	// Keys are accepted as "Authorization: Bearer KEY". Without any the API serves
	// this machine only: Listen must be loopback or a Unix socket.
	Keys []string
	// TLS configures the listener's TLS; nil: no TLS. It needs a certificate, and
	// API.SetTLS replaces it. NextProtos is always http/1.1. A Unix socket never uses TLS.
	TLS *tls.Config
	// ProxyProtocol are the proxies whose connections begin with a PROXY protocol header,
	// as in server.Config.
	ProxyProtocol []netip.Prefix
	// MaxConnections bounds the connections that are open at a time. 0: a sixteenth of the
	// descriptor limit, less 64 that are being rejected, or half of that sixteenth; at most
	// 4,096.
	MaxConnections int
	// ReadyNeedsStore makes /readyz answer 503 while the store is not available.
	// Otherwise it answers 200, because live messages work without a store, and the
	// body says what is degraded.
	ReadyNeedsStore bool
	// Pprof serves /debug/pprof.
	Pprof bool
	// Measured are further parts of the program with metrics, which may differ from scrape to
	// scrape.
	Measured []Measured
	// Parts are further parts of the program whose state /readyz, /healthz?strict and the
	// metrics show.
	Parts []Part
	// Webhooks serves dead letters and metrics of webhooks; nil: there are none.
	Webhooks Webhooks
	// LastSeen completes the answers of /v1/presence; nil: no times are known.
	LastSeen LastSeen
	// Version of the program, for /v1/stats and the metrics.
	Version string
	// Node names this process in /v1/stats and the metrics. Empty: its name in the
	// cluster, or the host name and the port of the public listener.
	Node string
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Part is a part of the program that may not work, while others do.
type Part struct {
	// Name in answers, such as "connect hook".
	Name string
	// Ready returns what does not work; nil: all does.
	Ready func() error
	// Usable returns an error while no client can connect because of it: then /readyz answers
	// 503. nil: clients can always connect, or the part recovers by itself within seconds.
	Usable func() error
}

// minKey is the shortest key: 16 random characters are 64 bits at least.
const minKey = 16

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var errs []error
	for _, key := range cfg.Keys {
		if len(key) < minKey {
			errs = append(errs, field.Errorf("Keys", "has a key of %d bytes: want at least %d", len(key), minKey))
		}
	}
	if len(cfg.Keys) == 0 && !listen.IsLoopback(cfg.Listen) {
		errs = append(errs, field.Errorf("Keys", "is empty, and the API listens on %s, which is not loopback: "+
			"set a key, or listen on 127.0.0.1", cfg.Listen))
	}
	if cfg.TLS != nil {
		if strings.HasPrefix(cfg.Listen, "unix:") {
			errs = append(errs, field.Errorf("TLS", "has no effect at %s: a Unix socket is served without TLS", cfg.Listen))
		}
		if err := secure.Validate(cfg.TLS); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.MaxConnections < 0 {
		errs = append(errs, field.Errorf("MaxConnections", "is %d: want at least 1, or 0 for the default", cfg.MaxConnections))
	}
	if len(errs) > 0 {
		return field.Wrapf("api: %w", errors.Join(errs...))
	}
	return nil
}
