package hook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"fanfare/server/internal/callout"
	"fanfare/server/internal/field"
)

// Backend is what the configurations of hooks have in common.
type Backend struct {
	callout.Target
	// Secrets sign requests.
	Secrets [][]byte
	// Timeout bounds a request. 0: 5 s.
	Timeout time.Duration
	// Conns is the number of connections that are kept open. 0: 64.
	Conns int
	// Logger; nil: slog.Default().
	Logger *slog.Logger

	// Client makes the requests. Check sets it.
	Client *http.Client
}

const (
	minSecret = 24 // bytes; Standard Webhooks, "Signature scheme"
	maxConns  = 1 << 14
)

// Check fills in defaults, and returns what is wrong, together with other errors in the Config
// of package pkg. conns is the name of the field that Conns is from.
func (b *Backend) Check(pkg, conns string, others ...error) error {
	if b.Logger == nil {
		b.Logger = slog.Default()
	}
	if b.Timeout == 0 {
		b.Timeout = 5 * time.Second
	}
	if b.Conns == 0 {
		b.Conns = 64
	}
	var errs []error
	if b.Timeout < 10*time.Millisecond || b.Timeout > time.Minute {
		errs = append(errs, field.Errorf("Timeout", "is %v: want 10ms to 1m", b.Timeout))
	}
	if b.Conns < 1 || b.Conns > maxConns {
		errs = append(errs, field.Errorf(conns, "is %d: want 1 to %d", b.Conns, maxConns))
	}
	if len(b.Secrets) == 0 {
		errs = append(errs, field.Errorf("Secrets", "is empty: without a signature the backend cannot tell who asks"))
	}
	for _, s := range b.Secrets {
		if len(s) < minSecret {
			errs = append(errs, field.Errorf("Secrets", "has a secret of %d bytes: want at least %d", len(s), minSecret))
		}
	}
	var err error
	if b.Client, err = b.Target.Client(b.Conns); err != nil {
		errs = append(errs, field.Errorf("URL", "is %q: %w", b.URL, err))
	}
	if errs = append(errs, others...); len(errs) > 0 {
		return field.Wrapf(pkg+": %w", errors.Join(errs...))
	}
	return nil
}

// NewPost returns a signed request that posts a JSON document.
func (b *Backend) NewPost(ctx context.Context, id string, now time.Time, body []byte) (*http.Request, error) {
	r, err := callout.NewPost(ctx, b.URL, body)
	if err != nil {
		return nil, err
	}
	callout.Sign(r.Header, b.Secrets, id, now, body)
	return r, nil
}
