package server

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
)

// Rejection is an error that a client gets as the answer to its handshake: an HTTP
// Status of 400 to 599, a Text, and further Header fields if any. Reason, if not empty,
// takes the place of Text in the log, for texts that differ from client to client.
type Rejection = handshake.Rejection

// Reject returns a Rejection: what an Identifier returns to reject a client.
func Reject(status int, text string) error { return handshake.Reject(status, text) }

// retryAfter is a Rejection that tells when to try again.
func retryAfter(status int, text, seconds string) *Rejection {
	return &Rejection{Status: status, Text: text, Header: http.Header{"Retry-After": {seconds}}}
}

var (
	errGoingAway = retryAfter(http.StatusServiceUnavailable, "the server is shutting down", "5")
	errFull      = retryAfter(http.StatusServiceUnavailable, "the server is full, try again later", "5")
	// errNoMemory is errPressed for a client whose request is not complete.
	errNoMemory = retryAfter(http.StatusServiceUnavailable, "the server is short of memory, try again later", "5")
	errTooSlow  = Reject(http.StatusRequestTimeout, "the request did not arrive in time").(*Rejection)

	errAddressFull   = retryAfter(http.StatusTooManyRequests, "too many connections from this address", "30")
	errAddressRate   = retryAfter(http.StatusTooManyRequests, "too many handshakes from this address", "5")
	errHandshakeRate = retryAfter(http.StatusServiceUnavailable, "too many handshakes at once", "1")
	errUserFull      = retryAfter(http.StatusTooManyRequests, "this user has too many connections", "30")
	errInternal      = Reject(http.StatusInternalServerError, "internal error").(*Rejection)
)

// reject answers a handshake with an HTTP error and ends the connection. It takes back
// an answer that was not sent, so only the holder of the read turn may call it. r is nil
// if the request could not be read.
func (s *Session) reject(err error, r *Request) {
	if errors.Is(err, ErrClosed) {
		return
	}
	rejection := s.srv().rejection(err)
	s.noteRejection(rejection, r)
	if s.enter(lingering, 0) {
		s.sendRejection(rejection)
	}
}

// rejectEarly is reject for goroutines that do not hold the read turn. It has no effect
// unless the server waits for the request, or for an Identifier.
func (s *Session) rejectEarly(r *Rejection) {
	if s.advance(shaking, lingering) || s.advance(identifying, lingering) {
		s.srv().stats.reject(r.Status)
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
	s.seal(r.AppendResponse(nil, time.Now()), true, netpoll.HalfClose)
}

// rejection counts an error and returns what the client is told: an error that is not a
// Rejection is the server's fault, which is for the log.
func (srv *Server) rejection(err error) *Rejection {
	var r *Rejection
	if !errors.As(err, &r) || r.Status < 400 || r.Status > 599 {
		srv.log.Error("handshake failed", "err", err)
		r = handshake.Fault(err)
	}
	srv.stats.reject(r.Status)
	return r
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
		addr = s.conn.RemoteAddr()
	}
	s.srv().rejectLog.note(rejection, addr.Addr(), origin)
}
