package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"fanfare/netpoll"
)

// Refusal is an error that a client gets as an HTTP status and a text.
type Refusal struct {
	Status int
	Text   string
	header string // further lines, each with CRLF
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Text) }

// Refuse makes a Refusal: what Endpoint.Identify returns to turn a client away.
func Refuse(status int, text string) error { return &Refusal{Status: status, Text: text} }

// refuse answers a handshake with an HTTP error and ends the connection. It takes
// back an answer that was not sent, so only the holder of the turn may call it.
func (s *Session) refuse(err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	r := s.srv().refusalOf(err)
	if s.enter(lingering, 0) {
		s.sendRefusal(r)
	}
}

// turnAway is refuse for those who do not hold the turn. It comes too late when the
// request is complete.
func (s *Session) turnAway(r *Refusal) {
	if s.state.CompareAndSwap(uint32(shaking)<<16, uint32(lingering)<<16) {
		s.srv().stats.reject(r.Status)
		s.sendRefusal(r)
	}
}

// sendRefusal shuts down the sending side behind the answer. The rest of the
// request is read, since a close with unread bytes would reset the connection and
// the client never see why.
func (s *Session) sendRefusal(r *Refusal) {
	s.seal(r.response(), true, netpoll.HalfClose)
}

// refusalOf counts an error and returns what the client is told of it: if it is
// no Refusal it is our fault, which is for the log.
func (srv *Server) refusalOf(err error) *Refusal {
	var r *Refusal
	if !errors.As(err, &r) || r.Status < 400 || r.Status > 599 {
		srv.log.Error("handshake failed", "err", err)
		r = &Refusal{Status: 500, Text: "internal error"}
	}
	srv.stats.reject(r.Status)
	return r
}

// response is the refusal as HTTP.
func (r *Refusal) response() []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n",
		r.Status, http.StatusText(r.Status), len(r.Text)+1)
	if r.Status < 500 { // RFC 9110, 6.6.1: "MUST generate a Date" in these
		b = time.Now().UTC().AppendFormat(append(b, "Date: "...), http.TimeFormat)
		b = append(b, crlf...)
	}
	b = append(append(append(b, r.header...), crlf...), r.Text...)
	return append(b, '\n')
}
