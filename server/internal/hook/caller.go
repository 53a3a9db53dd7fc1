package hook

import (
	"log/slog"
	"sync/atomic"
	"time"

	"fanfare/server/internal/breaker"
	"fanfare/server/internal/callout"
)

// Settings are a configuration of a hook and the backend that it names. They are immutable.
type Settings[C any] struct {
	Config C
	*Backend
}

// Caller makes the requests of a hook, each with the configuration C of that moment. T is an
// answer. It is safe for concurrent use.
type Caller[C, T any] struct {
	check   func(C) (*Backend, error)
	current atomic.Pointer[Settings[C]]
	breaker *breaker.Breaker[T]
	logged  callout.Seldom
}

// New returns a Caller for requests to what name names in the log. It makes no request. check
// returns the backend of a configuration that has no mistake, and excluded says which errors
// are not failures of the backend.
func New[C, T any](name string, cfg C, check func(C) (*Backend, error), openFor time.Duration, excluded func(error) bool) (*Caller[C, T], error) {
	c := &Caller[C, T]{check: check}
	if err := c.SetConfig(cfg); err != nil {
		return nil, err
	}
	c.breaker = breaker.New[T](name, openFor, excluded, func() *slog.Logger { return c.Settings().Logger })
	return c, nil
}

// Settings returns those of now.
func (c *Caller[C, T]) Settings() *Settings[C] { return c.current.Load() }

// SetConfig replaces the configuration for requests from now on. If cfg has a mistake, nothing
// changes.
func (c *Caller[C, T]) SetConfig(cfg C) error {
	b, err := c.check(cfg)
	if err != nil {
		return err
	}
	if old := c.current.Swap(&Settings[C]{cfg, b}); old != nil {
		old.Client.CloseIdleConnections()
	}
	return nil
}

// Close closes the connections to the backend that are not in use.
func (c *Caller[C, T]) Close() { c.Settings().Client.CloseIdleConnections() }

// Log logs a failure, at most one a second. counts are further attributes.
func (c *Caller[C, T]) Log(now time.Time, text string, err error, counts ...any) {
	if c.logged.Due(now) {
		set := c.Settings()
		set.Logger.Error(text, append([]any{"url", set.URL, "err", err}, counts...)...)
	}
}
