// Package guard recovers panics in code that the server calls and that is not its own.
package guard

import "fmt"

// recovery recovers the panics of one Store or Cluster.
type recovery struct {
	of       string // "Store", for the log and for errors
	down     error  // what a call that has panicked looks like to its caller
	panicked func(where string, v any)
}

// recovered is deferred around a call; err, if not nil, is set to what the call returns.
func (r *recovery) recovered(method string, err *error) {
	if v := recover(); v != nil {
		where := r.of + "." + method
		r.panicked(where, v)
		if err != nil {
			*err = fmt.Errorf("%w: panic in %s: %v", r.down, where, v)
		}
	}
}
