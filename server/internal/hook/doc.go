// Package hook is what the hooks have in common for which a client waits while the operator's
// backend answers: a configuration that changes while requests are under way, requests that
// are signed, a circuit breaker, and a log that failures do not flood. What a request says,
// and what its answer means, is in the package of each hook.
//
// It is not part of package callout, so that only these hooks link the library of the circuit
// breaker.
package hook
