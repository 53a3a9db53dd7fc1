package callout

import (
	"log/slog"
	"net/http"
	"time"

	"fanfare/server/internal/field"
)

// Backend is what the configurations of hooks have in common.
type Backend struct {
	Target
	// Secrets sign requests.
	Secrets [][]byte
	// Timeout bounds a request. 0: 5 s.
	Timeout time.Duration
	// Conns is the number of connections that are kept open. 0: 64.
	Conns int
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

const maxConns = 1 << 14

// Check fills in defaults, and returns a client for the backend and what is wrong. conns is the
// name of the field that Conns is from.
func (b *Backend) Check(conns string) (client *http.Client, errs []error) {
	if b.Logger == nil {
		b.Logger = slog.Default()
	}
	if b.Timeout == 0 {
		b.Timeout = 5 * time.Second
	}
	if b.Conns == 0 {
		b.Conns = 64
	}
	if b.Timeout < 10*time.Millisecond || b.Timeout > time.Minute {
		errs = append(errs, field.Errorf("Timeout", "is %v: want 10ms to 1m", b.Timeout))
	}
	if b.Conns < 1 || b.Conns > maxConns {
		errs = append(errs, field.Errorf(conns, "is %d: want 1 to %d", b.Conns, maxConns))
	}
	errs = append(errs, checkSecrets(b.Secrets)...)
	client, err := b.Client(b.Conns)
	if err != nil {
		errs = append(errs, field.Errorf("URL", "is %q: %w", b.URL, err))
	}
	return client, errs
}
