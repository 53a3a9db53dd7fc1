package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
)

// Reasons for which handshakes fail.
const (
	notTLS       = iota // the client does not speak TLS
	plainHTTP           // it speaks HTTP
	left                // the connection ended: it has left, or took too long
	rejectedByUs        // Owner.Allow
	noMemory            // memory is short
	alerted             // the client has sent an alert: it does not trust the certificate, for example
	version             // no version in common
	certificate         // the client's certificate is missing or invalid
	otherFailures
	reasons
)

var reasonNames = [reasons]string{
	notTLS: "not_tls", plainHTTP: "plain_http", left: "connection_ended", rejectedByUs: "limit", noMemory: "memory",
	alerted: "client_alert", version: "version", certificate: "client_certificate", otherFailures: "other",
}

var versionNames = [...]string{"1.0", "1.1", "1.2", "1.3"}

type counters struct {
	versions [len(versionNames)]atomic.Int64
	resumed  atomic.Int64
	failures [reasons]atomic.Int64
}

func (c *counters) succeeded(state *tls.ConnectionState) {
	c.versions[min(max(state.Version, tls.VersionTLS10)-tls.VersionTLS10, uint16(len(versionNames)-1))].Add(1)
	if state.DidResume {
		c.resumed.Add(1)
	}
}

// over counts a handshake of a Conn.
func (c *counters) over(state *tls.ConnectionState, err error) {
	if err != nil {
		c.failed(err)
		return
	}
	c.succeeded(state)
}

// ended returns how many handshakes have ended.
func (c *counters) ended() (n int64) {
	for i := range c.versions {
		n += c.versions[i].Load()
	}
	for i := range c.failures {
		n += c.failures[i].Load()
	}
	return n
}

func (c *counters) failed(err error) { c.failures[reason(err)].Add(1) }

// notAllowedError is an error of Owner.Allow.
type notAllowedError struct{ err error }

func (e *notAllowedError) Error() string { return e.err.Error() }
func (e *notAllowedError) Unwrap() error { return e.err }

// reason classifies an error of a handshake. crypto/tls names few of its errors.
func reason(err error) int {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errHTTP):
		return plainHTTP
	case errors.Is(err, errNotTLS), errors.As(err, new(tls.RecordHeaderError)):
		return notTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errGone):
		return left
	case errors.Is(err, errNoMemory):
		return noMemory
	case errors.As(err, &op) && op.Op == "remote error":
		return alerted
	case errors.As(err, &cert), strings.Contains(err.Error(), "didn't provide a certificate"):
		return certificate
	case strings.Contains(err.Error(), "unsupported versions"):
		return version
	case errors.As(err, new(*notAllowedError)):
		return rejectedByUs
	}
	return otherFailures
}

// Reason returns the name of the reason for an error given to Owner.Failed.
func Reason(err error) string { return reasonNames[reason(err)] }

// Stats are counters since New.
type Stats struct {
	Handshakes map[string]int64 // by version
	Resumed    int64            // of them
	Failures   map[string]int64 // by reason
	Running    int              // handshakes under way
	Limit      int              // of Running
	Waiting    int              // handshakes that wait for a goroutine
}

// Stats returns a snapshot.
func (s *Service) Stats() Stats {
	out := Stats{Handshakes: map[string]int64{}, Failures: map[string]int64{}, Resumed: s.stats.resumed.Load(), Limit: maxHandshakes}
	out.Running, out.Waiting = s.handshakes.Load()
	for i := range s.stats.versions {
		out.Handshakes[versionNames[i]] = s.stats.versions[i].Load()
	}
	for i := range s.stats.failures {
		out.Failures[reasonNames[i]] = s.stats.failures[i].Load()
	}
	return out
}
