package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"fanfare/netpoll"
	"fanfare/server/internal/field"
	"fanfare/server/internal/proxyproto"
	"fanfare/server/internal/secure"
)

// TLS is a Config.TLS. The code that serves TLS, 0.2 MiB, is linked only into programs that
// call NewTLS.
type TLS struct {
	config *tls.Config
	start  func(secure.Config) tlsService
}

// NewTLS returns a Config.TLS that serves connections with a copy of cfg.
func NewTLS(cfg *tls.Config) *TLS {
	return &TLS{cfg, func(c secure.Config) tlsService { return secure.New(c) }}
}

// tlsService is a secure.Service.
type tlsService interface {
	Secure(c *netpoll.Conn, owner secure.Owner) error
	Listener(ln net.Listener) net.Listener
	Import(st *secure.State) (netpoll.Layer, error)
	SetConfig(cfg *tls.Config)
	Sweep()
	Stats() secure.Stats
}

// ErrNoTLS is what SetTLS returns for a Server without Config.TLS.
var ErrNoTLS = errors.New("server: Config.TLS is nil, so connections are served without TLS")

// SetTLS replaces Config.TLS, for example by one with renewed certificates, for the
// connections that are accepted from now on. Open connections are not affected. Session
// tickets of the old one are not accepted any more, so that clients are authenticated by
// the new one.
func (srv *Server) SetTLS(cfg *tls.Config) error {
	if srv.tls == nil {
		return ErrNoTLS
	}
	if err := secure.Validate(cfg); err != nil {
		return err
	}
	srv.tls.SetConfig(cfg)
	return nil
}

// secure puts TLS between the session and its connection. A connection that a goroutine
// serves has it already: Serve wraps the listener.
func (s *Session) secure() {
	if s.conn.NetConn() != nil {
		return
	}
	if err := s.srv().tls.Secure(&s.conn, tlsOwner{s}); err != nil {
		panic("BUG: server: " + err.Error())
	}
}

// tlsOwner makes a session the owner of a TLS handshake.
type tlsOwner struct{ s *Session }

// Allow counts the TLS handshake against the rates of handshakes: it costs more than
// reading the request.
func (o tlsOwner) Allow() error {
	return o.s.srv().countHandshake(o.s.source)
}

// Failed ends the connection. The client may still have to read an alert.
func (o tlsOwner) Failed(err error) {
	s := o.s
	if s.advance(readingProxyHeader, lingering) || s.advance(readingRequest, lingering) {
		var rejection *Rejection
		if !errors.As(err, &rejection) {
			rejection = &Rejection{Text: err.Error(), Reason: "TLS handshake failed: " + secure.Reason(err)}
		}
		s.noteRejection(rejection, nil)
		s.seal(nil, true, netpoll.HalfClose)
	}
}

// layer returns the session's TLS; nil if there is none, or a goroutine serves the connection.
func (s *Session) layer() *secure.Layer {
	l, _ := s.conn.Layer().(*secure.Layer)
	return l
}

// tlsState describes the TLS connection of a session that is not open yet; nil if there
// is none.
func (s *Session) tlsState() *tls.ConnectionState {
	if l := s.layer(); l != nil {
		return l.State()
	}
	if nc, ok := s.conn.NetConn().(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := nc.ConnectionState()
		return &state
	}
	return nil
}

func (s *Session) forgetTLS() {
	if l := s.layer(); l != nil {
		l.Forget()
	}
}

func (s *Session) tlsHandshaking() bool {
	l := s.layer()
	return l != nil && l.Handshaking()
}

// securedByUs reports whether the session's TLS handshake was counted by tlsOwner.Allow.
func (s *Session) securedByUs() bool { return s.layer() != nil }

// rejectHello answers a client that speaks TLS to a listener without it. The client does
// not understand the answer: it is for the log.
func (srv *Server) rejectHello() error {
	return &Rejection{
		Status: http.StatusBadRequest,
		Text: "a TLS handshake arrived at a listener without TLS: use ws:// or http://, or configure TLS (" +
			field.Setting(srv.cfg.FieldName, "TLS") + ")",
		Reason: "TLS handshake at a listener without TLS",
	}
}

// checkPlain recognizes a TLS handshake by its first byte, the type of the
// record, RFC 8446 section 5.1. It rejects PROXY protocol headers, too.
func (s *Session) checkPlain(b []byte) error {
	x := s.ext.Load()
	if first := x == nil || x.gathering == nil || x.gathering.head.Held() == 0; !first {
		return nil
	}
	switch {
	case len(b) > 0 && b[0] == 22:
		return s.srv().rejectHello()
	case proxyproto.Announced(b):
		return s.srv().rejectProxyHeader()
	}
	return nil
}

// TLSStats describe the TLS handshakes of the public listener: three present values, and
// counters since New. Clients that send nothing are in Stats.Aborted only.
type TLSStats struct {
	Running  int              `json:"running" metric:"handshakes_running" help:"TLS handshakes under way."`
	Limit    int              `json:"limit" metric:"handshakes_limit" help:"Limit of fanfare_tls_handshakes_running."`
	Waiting  int              `json:"waiting" metric:"handshakes_waiting" help:"TLS handshakes that wait because the limit is reached."`
	Done     map[string]int64 `json:"handshakes_by_version" metric:"handshakes_total,version" help:"Completed TLS handshakes, by version."`
	Resumed  int64            `json:"resumed" metric:"resumed_total" help:"Completed TLS handshakes that resumed a session."`
	Failures map[string]int64 `json:"failures_by_reason" metric:"handshake_failures_total,reason" help:"TLS handshakes that failed, by reason."`
}

func newTLSStats(s secure.Stats) *TLSStats {
	return &TLSStats{Running: s.Running, Limit: s.Limit, Waiting: s.Waiting, Done: s.Handshakes, Resumed: s.Resumed, Failures: s.Failures}
}
