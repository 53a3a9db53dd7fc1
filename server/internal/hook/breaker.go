package hook

import (
	"fmt"

	"fanfare/server/internal/breaker"
)

// ErrOpen says that the circuit breaker has not let a request through.
var ErrOpen = breaker.ErrOpen

const (
	// TripAfter is how many failures in a row open the circuit breaker.
	TripAfter = breaker.TripAfter
	// OpenFor is how long it stays open, where nothing else is said.
	OpenFor = breaker.OpenFor
)

// Execute makes a request, unless the error is ErrOpen.
func (c *Caller[C, T]) Execute(request func() (T, error)) (T, error) {
	return c.breaker.Execute(request)
}

// Open returns 1 while the circuit breaker lets no request through, else 0.
func (c *Caller[C, T]) Open() int64 { return c.breaker.Open() }

// Ready returns an error while the circuit breaker lets no request through, with what that
// means for clients.
func (c *Caller[C, T]) Ready(consequence string) error {
	if c.breaker.Open() == 0 {
		return nil
	}
	return fmt.Errorf("the backend has failed %d times in a row: %s until it answers", TripAfter, consequence)
}
