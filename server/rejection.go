package server

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
)

// A handshake is rejected in one of these steps, in this order:
//
//   - accept: a limit on connections (limits.go), or draining;
//   - the PROXY protocol header (preamble.go);
//   - TLS: package secure, and checkPlain for TLS at a plain listener (preamble.go);
//   - gathering: the size and the deadline of the request, and memory (handshake.go);
//   - the request: its path, Host and rate (handshake.go), the rules of RFC 6455 and its
//     origin (endpoint.check in admit.go);
//   - identity: the Identifier and its deadline (identify.go);
//   - admission: topics, sub-protocol, and the limits per user (endpoint.admit in admit.go).

// Rejection is an error that is the answer to a handshake: an HTTP
// Status of 400 to 599, a Text, and further Header fields if any. Reason, if not empty,
// takes the place of Text in the log, for texts that differ from client to client.
type Rejection = handshake.Rejection

// Reject returns a Rejection: what an Identifier returns to reject a client.
func Reject(status int, text string) error { return handshake.Reject(status, text) }

// retryAfter returns a Rejection with a Retry-After header.
func retryAfter(status int, text, seconds string) *Rejection {
	return &Rejection{Status: status, Text: text, Header: http.Header{"Retry-After": {seconds}}}
}

// after returns the rejection with d in Retry-After, in whole seconds, at least one.
func after(r *Rejection, d time.Duration) *Rejection {
	seconds := max((d+time.Second-1)/time.Second, 1)
	again := *r
	again.Header = http.Header{"Retry-After": {strconv.FormatInt(int64(seconds), 10)}}
	return &again
}

// spread sets a random Retry-After on rejections that many clients receive at once and
// whose end is not known, so that the clients return at different times.
func (srv *Server) spread(r *Rejection) *Rejection {
	switch r {
	case errGoingAway, errFull, errNoMemory, errAddressFull, errIdentifySlow, errIdentifyFull, errRevocationsUnknown:
		return after(r, spreadFrom+time.Duration(srv.random(int64(spreadTo-spreadFrom)+1)))
	}
	return r
}

// The bounds of Retry-After where the time is not known.
const (
	spreadFrom = 5 * time.Second
	spreadTo   = 10 * time.Second
)

// The functions after and spread replace the Retry-After of these rejections if a better
// time is known.
var (
	errGoingAway = retryAfter(http.StatusServiceUnavailable, "the server is shutting down", "5")
	errFull      = retryAfter(http.StatusServiceUnavailable, "the server is full, try again later", "5")
	// errNoMemory is errShortOfMemory for a client whose request is not complete.
	errNoMemory = retryAfter(http.StatusServiceUnavailable, "the server is short of memory, try again later", "5")
	errTooSlow  = Reject(http.StatusRequestTimeout, "the request did not arrive in time").(*Rejection)

	errAddressFull   = retryAfter(http.StatusTooManyRequests, "too many connections from this address", "5")
	errAddressRate   = retryAfter(http.StatusTooManyRequests, "too many handshakes from this address", "1")
	errHandshakeRate = retryAfter(http.StatusServiceUnavailable, "too many handshakes at once", "1")
	errUserFull      = retryAfter(http.StatusTooManyRequests, "too many sessions of this user", "1")
	// errFallbackFull: fallback.MaxRequests are being served.
	errFallbackFull = retryAfter(http.StatusServiceUnavailable, "too many requests at once", "1")
	errInternal     = Reject(http.StatusInternalServerError, "internal error").(*Rejection)
)

// reject answers a handshake with an HTTP error and ends the connection. It discards
// an answer that is still queued, so only the holder of the read turn may call it. r is nil
// if the request could not be read.
func (s *Session) reject(err error, r *Request) {
	if errors.Is(err, ErrClosed) {
		return
	}
	rejection := s.srv().rejection(err)
	if r != nil {
		rejection = s.srv().endpoints[string(r.head.Path)].readable(rejection, r)
	}
	s.noteRejection(rejection, r)
	if s.enter(lingering, 0) {
		s.sendRejection(rejection)
	}
}

// rejectEarly is reject for goroutines that do not hold the read turn. It has no effect
// unless the server waits for the request, or for an Identifier.
func (s *Session) rejectEarly(r *Rejection) {
	if s.advance(readingProxyHeader, lingering) || s.advance(readingRequest, lingering) || s.advance(identifying, lingering) {
		s.srv().stats.Reject(r.Status)
		r = s.srv().spread(r)
		s.noteRejection(r, nil)
		s.sendRejection(r)
		s.cancelIdentification()
	}
}

// advance moves the session from one phase to another, and reports false if it is in
// neither.
func (s *Session) advance(from, to phase) bool {
	for {
		old := s.state.Load()
		if phaseOf(old) != from {
			return false
		}
		if s.state.CompareAndSwap(old, uint32(to)<<phaseShift|old&^(phaseMask<<phaseShift)) {
			return true
		}
	}
}

// sendRejection shuts down the sending side after the answer. The rest of the request
// is read, since a close with unread bytes would reset the connection, and the client
// would not see the answer.
func (s *Session) sendRejection(r *Rejection) {
	if s.tlsHandshaking() {
		s.conn.Close() // no answer can be sent
		return
	}
	s.seal(r.AppendResponse(nil, s.srv().wall()), true, netpoll.HalfClose)
}

// rejection counts an error and returns the answer to the client: an error that is not a
// Rejection is the server's fault, and is logged.
func (srv *Server) rejection(err error) *Rejection {
	var r *Rejection
	if !isRejection(err, &r) {
		srv.log.Error("handshake failed", "err", err)
		r = handshake.Fault(err)
	}
	srv.stats.Reject(r.Status)
	return srv.spread(r)
}

// noteRejection logs the rejection.
func (s *Session) noteRejection(rejection *Rejection, r *Request) {
	addr := netip.AddrPort{}
	var origin []byte
	if r != nil {
		r.session = s
		addr = r.RemoteAddr()
		origin, _ = r.head.Field("Origin")
	} else {
		addr = s.RemoteAddr()
	}
	s.srv().rejectLog.Note(rejection, addr.Addr(), origin)
}
