package messagehook

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"fanfare/server/internal/callout"
	"fanfare/server/internal/field"
)

// Config of a Hook. URL and Secrets are required; zero is the default of all other fields.
type Config struct {
	// URL of the backend: https, or http on loopback.
	URL string
	// CA is a file with the certificates, in PEM, of the authorities that the backend is
	// verified with. Empty: those of the system.
	CA string
	// InsecureHTTP allows a URL with http for hosts other than loopback. An attacker
	// on the network can then read messages and forge answers.
	InsecureHTTP bool
	// Secrets sign requests, each of at least 24 bytes. With several a request has a
	// signature by each, so that a backend can change from one to the next.
	Secrets [][]byte
	// Timeout bounds a request. 0: 5 s.
	Timeout time.Duration
	// Connections is how many connections to the backend are kept open while they are not
	// used: as many as server.Config.Responders. 0: 64.
	Connections int
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

const (
	maxAnswer = 256 << 10
	maxText   = 1 << 10 // of a rejection
)

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error {
	_, err := cfg.validate()
	return err
}

// validate fills in defaults, and returns the client.
func (cfg *Config) validate() (*http.Client, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Connections == 0 {
		cfg.Connections = 64
	}
	var errs []error
	if cfg.Timeout < 10*time.Millisecond || cfg.Timeout > time.Minute {
		errs = append(errs, field.Errorf("Timeout", "is %v: want 10ms to 1m", cfg.Timeout))
	}
	if cfg.Connections < 1 || cfg.Connections > 1<<14 {
		errs = append(errs, field.Errorf("Connections", "is %d: want 1 to %d", cfg.Connections, 1<<14))
	}
	errs = append(errs, callout.CheckSecrets(cfg.Secrets)...)
	client, err := callout.Target{URL: cfg.URL, CA: cfg.CA, InsecureHTTP: cfg.InsecureHTTP}.Client(cfg.Connections)
	if err != nil {
		errs = append(errs, field.Errorf("URL", "is %q: %w", cfg.URL, err))
	}
	if len(errs) > 0 {
		return nil, field.Wrapf("messagehook: %w", errors.Join(errs...))
	}
	return client, nil
}
