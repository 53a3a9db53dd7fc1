package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"fanfare/server/internal/callout"
)

// failure classes an attempt that failed, for the metrics.
type failure uint8

const (
	failedRedirect failure = iota // 3xx
	failedClient                  // 4xx
	failedServer                  // 5xx
	failedTimeout
	failedTLS
	failedNetwork
	failures
)

var failureNames = [failures]string{"3xx", "4xx", "5xx", "timeout", "tls", "network"}

// outcome is what an attempt came to.
type outcome struct {
	ok         bool
	status     int // 0: no answer
	class      failure
	err        error // why not ok; without the URL, which may have a token
	retryAfter time.Duration
}

// mayPass reports whether an answer of 4xx says that a repetition may succeed.
func (o *outcome) mayPass() bool {
	switch o.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// post makes one attempt.
func (d *deliverer) post(h *hook, id string, body []byte) outcome {
	s := d.s
	ctx, cancel := context.WithTimeout(d.ctx, s.cfg.Timeout)
	defer cancel()
	r, err := callout.NewPost(ctx, h.url, body)
	if err != nil {
		return outcome{class: failedNetwork, err: err}
	}
	sign(r.Header, *s.secrets.Load(), id, s.now(), body)
	resp, err := callout.Send(h.client, r)
	if err != nil {
		return failedWith(resp, err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // lets the connection be used again
	if resp.StatusCode/100 == 2 {
		return outcome{ok: true, status: resp.StatusCode}
	}
	out := outcome{status: resp.StatusCode, class: failedServer, err: fmt.Errorf("the answer is %s", resp.Status),
		retryAfter: retryAfter(resp.Header, s.now())}
	switch resp.StatusCode / 100 {
	case 3:
		out.class = failedRedirect
	case 4:
		out.class = failedClient
	}
	return out
}

// failedWith classes an error of the HTTP client.
func failedWith(resp *http.Response, err error) outcome {
	out := outcome{class: failedNetwork, err: err}
	if resp != nil { // a redirect
		return outcome{class: failedRedirect, status: resp.StatusCode, err: errors.New("the answer is a redirect: name the URL that it redirects to")}
	}
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	timeout, isTimeout := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	switch {
	case verification || authority || record || alert:
		out.class = failedTLS
	case errors.Is(err, context.DeadlineExceeded) || isTimeout && timeout.Timeout():
		out.class, out.err = failedTimeout, errors.New("no answer in time")
	}
	return out
}
