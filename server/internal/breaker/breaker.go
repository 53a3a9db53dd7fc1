// Package breaker has the circuit breaker of requests to the backend of the operator.
// It is not in package callout, so that only the hooks that have one link its library.
package breaker

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker is a circuit breaker: after failures in a row it lets no request through for a
// while, and then one.
type Breaker[T any] struct{ b *gobreaker.CircuitBreaker[T] }

// ErrOpen says that a request was not let through.
var ErrOpen = errors.New("the circuit breaker is open")

const (
	// TripAfter is how many failures in a row open a Breaker.
	TripAfter = 10
	// OpenFor is how long a Breaker stays open, where nothing else is said.
	OpenFor = 5 * time.Second
)

// New returns a Breaker for requests to what name names in the log. excluded says
// which errors are not failures.
func New[T any](name string, openFor time.Duration, excluded func(error) bool, log func() *slog.Logger) *Breaker[T] {
	return &Breaker[T]{gobreaker.NewCircuitBreaker[T](gobreaker.Settings{
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= TripAfter },
		IsExcluded:  excluded,
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log().Warn(name+" circuit breaker", "from", from.String(), "to", to.String())
		},
	})}
}

// Execute makes a request, unless the error is ErrOpen.
func (b *Breaker[T]) Execute(request func() (T, error)) (T, error) {
	v, err := b.b.Execute(request)
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = ErrOpen
	}
	return v, err
}

// Open returns 1 while no request is let through, else 0.
func (b *Breaker[T]) Open() int64 {
	if b.b.State() == gobreaker.StateOpen {
		return 1
	}
	return 0
}
