package callout

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// NewPost returns a request that posts a JSON document.
func NewPost(ctx context.Context, to string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "fanfare")
	return r, nil
}

// Send makes a request, as http.Client.Do. Errors do not name the URL, which may have a token.
func Send(client *http.Client, r *http.Request) (*http.Response, error) {
	resp, err := client.Do(r)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return resp, err
}

// Seldom lets one event a second through, such as the line for a failure. The zero value is
// ready, and safe for concurrent use.
type Seldom struct{ last atomic.Int64 } // in seconds since 1970

// Due reports whether an event is let through.
func (s *Seldom) Due(now time.Time) bool {
	at, last := now.Unix(), s.last.Load()
	return at != last && s.last.CompareAndSwap(last, at)
}
