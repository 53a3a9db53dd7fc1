package connecthook

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/net/http/httpguts"

	"fanfare/server/internal/callout"
	"fanfare/server/internal/field"
	"fanfare/server/internal/hook"
)

// Failure says what happens to a client when the backend does not answer.
type Failure uint8

const (
	// Reject rejects the handshake with 503.
	Reject Failure = iota
	// Anonymous opens a session for a user of its own, "anonymous:" followed by random
	// letters, without topics: it receives broadcasts.
	Anonymous
)

// ParseFailure reads "reject" or "anonymous", for programs that take the policy from a flag
// or a file.
func ParseFailure(s string) (Failure, error) {
	switch s {
	case "reject":
		return Reject, nil
	case "anonymous":
		return Anonymous, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want reject or anonymous", s)
}

// Config configures a Hook. URL and Secrets are required; zero selects the default of all other fields.
type Config struct {
	// URL of the backend: https, or http on loopback.
	URL string
	// CA is a file with the certificates, in PEM, of the authorities that the backend is
	// verified with. Empty: those of the system.
	CA string
	// InsecureHTTP allows a URL with http for hosts other than loopback. An attacker
	// on the network can then choose identities.
	InsecureHTTP bool
	// Secrets sign requests, each of at least 24 bytes. With several a request has a
	// signature by each, so that a backend can change from one to the next.
	Secrets [][]byte

	// Headers, Cookies and Query name what the backend gets of a handshake. Names of
	// headers are compared without case.
	Headers, Cookies, Query []string

	// Timeout bounds a request. 0: 5 s.
	Timeout time.Duration
	// Concurrency bounds the requests under way. 0: 64. Handshakes beyond it wait on a
	// goroutine unless server.Config.Identifiers is the same.
	Concurrency int
	// Failure says what happens to a client when the backend cannot be asked: a request
	// fails or times out, its status is not 200, or the circuit breaker is open. An answer
	// that is invalid is always a rejection, with 502: it may have meant one.
	Failure Failure
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

const (
	maxAnswer = 64 << 10
	maxNames  = 32 // of headers, cookies and query parameters each
)

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error {
	_, err := cfg.backend()
	return err
}

// backend returns the backend, with defaults filled in.
func (cfg Config) backend() (*hook.Backend, error) {
	var errs []error
	if cfg.Failure > Anonymous {
		errs = append(errs, field.Errorf("Failure", "is %d: want Reject or Anonymous", cfg.Failure))
	}
	for _, l := range []struct {
		name  string
		names []string
	}{{"Headers", cfg.Headers}, {"Cookies", cfg.Cookies}, {"Query", cfg.Query}} {
		if len(l.names) > maxNames {
			errs = append(errs, field.Errorf(l.name, "has %d names: want at most %d", len(l.names), maxNames))
		}
		for _, n := range l.names {
			if n == "" || l.name != "Query" && !httpguts.ValidHeaderFieldName(n) {
				errs = append(errs, field.Errorf(l.name, "has %q, which is not a name", n))
			}
		}
	}
	b := &hook.Backend{
		Target:  callout.Target{URL: cfg.URL, CA: cfg.CA, InsecureHTTP: cfg.InsecureHTTP},
		Secrets: cfg.Secrets, Timeout: cfg.Timeout, Conns: cfg.Concurrency, Logger: cfg.Logger,
	}
	return b, b.Check("connecthook", "Concurrency", errs...)
}
