package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstRetry and maxRetry bound the pause before a request is repeated. One request at a
	// time is in progress, so that an endpoint that fails is asked at most once a minute.
	firstRetry = 500 * time.Millisecond
	maxRetry   = time.Minute
	// maxRetryAfter bounds what an endpoint may ask for.
	maxRetryAfter = time.Hour
)

// backoff returns the pause after a number of attempts that failed: full jitter, so that many
// nodes do not come back at once.
func backoff(failed int, random func(int64) int64) time.Duration {
	most := maxRetry
	if failed < 8 {
		most = min(most, firstRetry<<(failed-1))
	}
	return time.Duration(random(int64(most) + 1))
}

func randomInt64(n int64) int64 { return rand.Int64N(n) }

// retryAfter returns what an answer asks for, RFC 9110 section 10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
