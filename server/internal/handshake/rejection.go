package handshake

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

// Rejection is a handshake's answer other than the one that accepts. It is an error, immutable, and may
// be shared.
type Rejection struct {
	Status int
	Text   string
	Header http.Header // further fields; nil: none
	Reason string      // under which rejections are logged together; empty: Text

	cause error
}

// Error returns the status and the text.
func (r *Rejection) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Text) }

// Unwrap returns the error that the server is to blame for; nil if the client is.
func (r *Rejection) Unwrap() error { return r.cause }

// Fault returns the Rejection that a client gets for an error of the server.
func Fault(cause error) *Rejection {
	return &Rejection{Status: http.StatusInternalServerError, Text: "internal error", cause: cause}
}

// Why returns the reason under which the rejection is logged.
func (r *Rejection) Why() string {
	if r.Reason != "" {
		return r.Reason
	}
	return r.Text
}

// Reject returns a Rejection without further fields.
func Reject(status int, text string) error { return &Rejection{Status: status, Text: text} }

// AppendResponse appends the rejection as HTTP/1.1. The connection ends with it.
func (r *Rejection) AppendResponse(b []byte, now time.Time) []byte {
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\nConnection: close\r\n", r.Status, http.StatusText(r.Status))
	body := r.Status != http.StatusNoContent // RFC 9110, 8.6: which has no Content-Length
	if body {
		b = fmt.Appendf(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n", len(r.Text)+1)
	}
	if r.Status < 500 { // RFC 9110, 6.6.1: "MUST generate a Date" in these
		b = now.UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat)
		b = append(b, crlf...)
	}
	if len(r.Header) > 0 {
		var fields bytes.Buffer
		r.Header.Write(&fields) // which replaces line ends in values
		b = append(b, fields.Bytes()...)
	}
	b = append(b, crlf...)
	if !body {
		return b
	}
	return append(append(b, r.Text...), '\n')
}

// RepeatedParam returns the Rejection for a query parameter that must not be repeated.
func RepeatedParam(name string) error {
	return &Rejection{
		Status: http.StatusBadRequest,
		Text:   "query parameter " + Quote([]byte(name)) + " is repeated: name it once",
		Reason: "query parameter repeated",
	}
}

// RejectHost returns the Rejection for a Host that does not name this machine. It protects a
// server on loopback whose clients name their user themselves against DNS rebinding: a page
// makes its own name resolve to this machine, and so has the same origin as this server.
// setting is what the program calls Config.TrustedProxies.
func RejectHost(host []byte, setting string) error {
	return &Rejection{
		Status: http.StatusForbidden,
		Text: "the Host field names " + Quote(host) + ", not this machine; a server that identifies users by the query and listens on loopback " +
			"accepts IP addresses and localhost only, unless a proxy is trusted (" + setting + ")",
		Reason: "host is not local",
	}
}
