package handshake

import (
	"net/http"
	"strconv"
	"time"
)

// The rejections that a server decides on by its state, its limits, or its revocations.
// Functions After and Spread replace their Retry-After if a better time is known.
var (
	ErrGoingAway = RetryAfter(http.StatusServiceUnavailable, "the server is shutting down", "5")
	ErrFull      = RetryAfter(http.StatusServiceUnavailable, "the server is full, try again later", "5")
	// ErrNoMemory is for a client whose request is not complete.
	ErrNoMemory = RetryAfter(http.StatusServiceUnavailable, "the server is short of memory, try again later", "5")
	ErrTooSlow  = Reject(http.StatusRequestTimeout, "the request did not arrive in time").(*Rejection)

	ErrAddressFull   = RetryAfter(http.StatusTooManyRequests, "too many connections from this address", "5")
	ErrAddressRate   = RetryAfter(http.StatusTooManyRequests, "too many handshakes from this address", "1")
	ErrHandshakeRate = RetryAfter(http.StatusServiceUnavailable, "too many handshakes at once", "1")
	ErrUserFull      = RetryAfter(http.StatusTooManyRequests, "too many sessions of this user", "1")
	// ErrFallbackFull: fallback.MaxRequests are being served.
	ErrFallbackFull = RetryAfter(http.StatusServiceUnavailable, "too many requests at once", "1")
	ErrInternal     = Reject(http.StatusInternalServerError, "internal error").(*Rejection)

	ErrIdentifySlow = RetryAfter(http.StatusServiceUnavailable, "the server could not identify the client in time", "5")
	// ErrIdentifyFull bounds the memory of handshakes that wait.
	ErrIdentifyFull = RetryAfter(http.StatusServiceUnavailable, "too many clients wait to be identified", "5")
	ErrEarly        = Reject(http.StatusBadRequest, "too many bytes before the answer to the handshake")

	ErrRevoked            = revoked("the token is revoked: get a new one")
	ErrBlocked            = revoked("the user is revoked")
	ErrRevocationsUnknown = RetryAfter(http.StatusServiceUnavailable, "the server does not know yet which tokens are revoked, try again later", "5")
)

// revoked returns a Rejection as RFC 6750 section 3.1 wants it.
func revoked(text string) *Rejection {
	return &Rejection{
		Status: http.StatusUnauthorized, Text: text,
		Header: http.Header{"Www-Authenticate": {`Bearer realm="fanfare", error="invalid_token"`}},
	}
}

// RetryAfter returns a Rejection with a Retry-After header.
func RetryAfter(status int, text, seconds string) *Rejection {
	return &Rejection{Status: status, Text: text, Header: http.Header{"Retry-After": {seconds}}}
}

// After returns the rejection with d in Retry-After, in whole seconds, at least one.
func After(r *Rejection, d time.Duration) *Rejection {
	seconds := max((d+time.Second-1)/time.Second, 1)
	again := *r
	again.Header = http.Header{"Retry-After": {strconv.FormatInt(int64(seconds), 10)}}
	return &again
}

// The bounds of Retry-After where the time is not known.
const (
	SpreadFrom = 5 * time.Second
	SpreadTo   = 10 * time.Second
)

// Spread sets a random Retry-After on rejections that many clients receive at once and
// whose end is not known, so that the clients return at different times. random returns a
// number from 0 to n-1.
func Spread(r *Rejection, random func(n int64) int64) *Rejection {
	switch r {
	case ErrGoingAway, ErrFull, ErrNoMemory, ErrAddressFull, ErrIdentifySlow, ErrIdentifyFull, ErrRevocationsUnknown:
		return After(r, SpreadFrom+time.Duration(random(int64(SpreadTo-SpreadFrom)+1)))
	}
	return r
}
