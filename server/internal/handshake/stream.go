package handshake

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// CheckStream checks a request whose response is a stream, instead of a WebSocket
// connection: a GET without a body.
func CheckStream(r *Request) error {
	if !bytes.HasPrefix(r.Version, []byte("HTTP/1.")) { // from another HTTP server
		return errStreamVersion
	}
	if string(r.Method) != http.MethodGet {
		return errStreamMethod
	}
	// RFC 9112 section 3.2. HTTP/1.0 did not have the field.
	if _, n := r.Field("Host"); n > 1 || n == 0 && string(r.Version) != "HTTP/1.0" {
		return errHost
	}
	if r.IsUpgrade() {
		return errUpgradeStream
	}
	if HasBody(r) {
		return errStreamBody
	}
	return nil
}

// HasBody reports whether a request announces a body that is not empty, or says so in a way
// that servers may read differently.
func HasBody(r *Request) bool {
	length, lengths := r.Field("Content-Length")
	_, codings := r.Field("Transfer-Encoding")
	return lengths > 1 || lengths == 1 && string(length) != "0" || codings > 0
}

var (
	errStreamVersion = Reject(http.StatusHTTPVersionNotSupported, "a stream needs HTTP/1.1 here: the connection of HTTP/2 cannot be taken over; in net/http, Server.Protocols switches HTTP/2 off")
	errStreamMethod  = &Rejection{Status: http.StatusMethodNotAllowed, Text: "a stream begins with a GET", Header: http.Header{"Allow": {"GET"}}}
	errUpgradeStream = Reject(http.StatusBadRequest, "this endpoint does not speak WebSocket: send a GET without Upgrade")
	errStreamBody    = Reject(http.StatusBadRequest, "the request has a body: want none")
)

// CheckAccept rejects a client that says that it does not take a media type, RFC 9110
// section 12.5.1. It is lenient: what it does not understand, it accepts.
func CheckAccept(r *Request, media string) error {
	any, accepted := false, false
	major, _, _ := strings.Cut(media, "/")
	for offer := range r.List("Accept") {
		any = true
		name, params, _ := bytes.Cut(offer, []byte(";"))
		name = bytes.TrimRight(name, " \t")
		if EqualFold(name, media) || EqualFold(name, major+"/*") || string(name) == "*/*" || bytes.IndexByte(name, '/') < 0 {
			accepted = accepted || !isZeroWeight(params)
		}
	}
	if any && !accepted {
		return &Rejection{Status: http.StatusNotAcceptable, Text: "the response would be " + media + ", which Accept does not allow", Reason: "media type not accepted"}
	}
	return nil
}

// isZeroWeight reports whether parameters say that a media type is not acceptable.
func isZeroWeight(params []byte) bool {
	for p := range bytes.SplitSeq(params, []byte(";")) {
		k, v, _ := bytes.Cut(bytes.TrimSpace(p), []byte("="))
		if q, err := strconv.ParseFloat(string(v), 64); EqualFold(k, "q") && err == nil && q == 0 {
			return true
		}
	}
	return false
}

// AppendStream appends the head of a response that is a stream. It has no length and no
// transfer coding, so that it ends with the connection (RFC 9112 section 6.3, item 8): the
// bytes that follow are the same for clients of HTTP/1.1 and of HTTP/1.0, and one encoding
// of a message serves all of them.
func AppendStream(b []byte, media string, fields http.Header, now time.Time) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: "...)
	b = append(b, media...)
	// no-transform keeps proxies from compressing, and so from buffering; nginx wants its
	// own field.
	b = append(b, "\r\nCache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, crlf...)
	if len(fields) > 0 {
		var buf bytes.Buffer
		fields.Write(&buf) // which replaces line ends in values
		b = append(b, buf.Bytes()...)
	}
	return append(b, crlf...)
}
