package messagehook

import (
	"log/slog"
	"time"

	"fanfare/server/internal/callout"
	"fanfare/server/internal/hook"
)

// Config configures a Hook. URL and Secrets are required; zero selects the default of all other fields.
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

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error {
	_, err := cfg.backend()
	return err
}

// backend returns the backend, with defaults filled in.
func (cfg Config) backend() (*hook.Backend, error) {
	b := &hook.Backend{
		Target:  callout.Target{URL: cfg.URL, CA: cfg.CA, InsecureHTTP: cfg.InsecureHTTP},
		Secrets: cfg.Secrets, Timeout: cfg.Timeout, Conns: cfg.Connections, Logger: cfg.Logger,
	}
	return b, b.Check("messagehook", "Connections")
}
