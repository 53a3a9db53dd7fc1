package inbound

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"fanfare/server"
	"fanfare/server/internal/breaker"
)

// What becomes of a message, in the order of resultNames.
const (
	answered = iota
	empty    // accepted, without an answer
	rejected // by the backend
	invalid  // answers
	failed   // requests
	timedOut
	skipped  // requests that the breaker has not let through
	canceled // because the server ended
	tooBig   // for what carries messages; only some count it
	results
)

var resultNames = [results]string{"answered", "empty", "rejected", "invalid", "failed", "timeout", "skipped", "canceled", "too_big"}

// What a client is told whose message the backend has not answered.
var (
	ErrTimeout     = &server.RequestError{Code: "timeout", Message: "the backend has not answered in time; it may have received the request"}
	ErrUnavailable = &server.RequestError{Code: "unavailable", Message: "the backend is not available, try again later"}
	ErrInvalid     = &server.RequestError{Code: "bad_answer", Message: "the answer of the backend is not valid"}
	ErrTooBig      = &server.RequestError{Code: "too_big", Message: "the message is longer than the backend receives"}
)

// TooBigError is a message that is too long for what carries it.
type TooBigError struct{ Problem error }

func (e *TooBigError) Error() string { return e.Problem.Error() }

// Results counts what becomes of messages. It is safe for concurrent use.
type Results struct {
	Running atomic.Int64 // messages that wait for their answer
	counts  [results]atomic.Int64
}

// Failed and Timeouts are for the log.
func (r *Results) Failed() int64   { return r.counts[failed].Load() }
func (r *Results) Timeouts() int64 { return r.counts[timedOut].Load() }

// Tell counts the outcome for a message, and returns what its client is told. m is the answer. err
// is a server.RequestError of the backend, an InvalidError, a TooBigError, breaker.ErrOpen, or the
// error of a context, which has ended after timeout; any other is a failure. Failures and invalid
// answers are given to log, with what has gone wrong.
func (r *Results) Tell(m *server.Message, err error, timeout time.Duration, log func(what string, err error)) (*server.Message, error) {
	var rejection *server.RequestError
	var bad *InvalidError
	var long *TooBigError
	switch {
	case err == nil && m == nil:
		r.counts[empty].Add(1)
		return nil, nil
	case err == nil:
		r.counts[answered].Add(1)
		return m, nil
	case errors.As(err, &rejection):
		r.counts[rejected].Add(1)
		return nil, rejection
	case errors.Is(err, breaker.ErrOpen):
		r.counts[skipped].Add(1)
		return nil, ErrUnavailable
	case errors.Is(err, context.Canceled):
		r.counts[canceled].Add(1)
		return nil, ErrUnavailable
	case errors.As(err, &bad):
		r.counts[invalid].Add(1)
		log("answer is invalid", err)
		return nil, ErrInvalid
	case errors.As(err, &long):
		r.counts[tooBig].Add(1)
		log("failed", err)
		return nil, ErrTooBig
	case errors.Is(err, context.DeadlineExceeded):
		r.counts[timedOut].Add(1)
		log("failed", fmt.Errorf("no answer within %v", timeout))
		return nil, ErrTimeout
	}
	r.counts[failed].Add(1)
	log("failed", err)
	return nil, ErrUnavailable
}

// Metrics describes the metrics of Results.
type Metrics struct {
	Prefix                string // of their names
	Total, Requests, Open string // their help texts
	TooBig                bool   // messages can be too long
}

// Each calls f for each metric, see api.Measured. open is that of the circuit breaker.
func (r *Results) Each(d Metrics, open int64, f func(name, help, label, value string, n int64)) {
	for i, name := range resultNames {
		if i != tooBig || d.TooBig {
			f(d.Prefix+"_total", d.Total, "result", name, r.counts[i].Load())
		}
	}
	f(d.Prefix+"_requests", d.Requests, "", "", r.Running.Load())
	f(d.Prefix+"_open", d.Open, "", "", open)
}
