package client

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// delay says how to reconnect: not before floor, and at a random time in spread, or in the
// growing delay if that is longer.
type delay struct{ floor, spread time.Duration }

// finalCodes are close codes after which a reconnect is of no use.
var finalCodes = []int{1000, 1002, 1003, 1007, 1008, 1009, 1010, 3003}

// afterClose returns ok false if a reconnect is of no use.
func afterClose(code int, reason string, hasToken bool) (d delay, ok bool) {
	if slices.Contains(finalCodes, code) || code == 3000 && !hasToken {
		return delay{}, false
	}
	switch code {
	case 1001, 1012: // the server leaves: all of its clients come at once
		d.spread = 5 * time.Second
		if named, ok := retryWithin(reason); ok {
			d.spread = named
		}
	case 1013: // slow consumer, or short of memory
		d.floor, d.spread = time.Second, 10*time.Second
	case 1011:
		d.floor = time.Second
	}
	return d, true
}

// retryWithin returns the time within which a server asks its clients to come back: the reason
// is a text, followed by pairs "; name=value".
func retryWithin(reason string) (d time.Duration, ok bool) {
	for i, pair := range strings.Split(reason, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if i == 0 || name != "retry" {
			continue
		}
		seconds, err := strconv.ParseUint(value, 10, 31)
		return min(time.Duration(seconds)*time.Second, mostRetryAfter), err == nil
	}
	return 0, false
}

// mostRetryAfter bounds what a server, or a proxy, may ask for.
const mostRetryAfter = 5 * time.Minute

// afterStatus is afterClose for a handshake that failed. named says that the handshake named
// topics, one of which may be the reason.
func afterStatus(e *HandshakeError, hasToken, named bool) (d delay, ok bool) {
	switch {
	case e.Status == 400 || e.Status == 426 || e.Status == 403 && !named || e.Status == 401 && !hasToken:
		return delay{}, false
	}
	d.floor = min(e.RetryAfter, mostRetryAfter)
	return d, true
}

// backoff returns a random delay, which doubles with each failure.
func (cfg *Config) backoff(failures int, d delay) time.Duration {
	bound := cfg.MinDelay << min(failures, 30)
	if bound <= 0 || bound > cfg.MaxDelay {
		bound = cfg.MaxDelay
	}
	return d.floor + time.Duration(rand.Int64N(int64(max(bound, d.spread))+1))
}
