package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fallbackTimeout bounds reading a request that is not a handshake, and
	// answering it.
	fallbackTimeout = 10 * time.Second
	// maxFallback bounds the requests served at a time, each with a goroutine.
	maxFallback = 1024
)

// errFallbackFull: maxFallback requests are being served.
var errFallbackFull = retryAfter(http.StatusServiceUnavailable, "too many requests at once", "1")

// fallback serves the requests of the public listener that are not WebSocket
// handshakes with net/http. A connection serves one request, so that it does not keep
// a goroutine afterwards.
type fallback struct {
	srv   *Server
	http  http.Server
	conns chan net.Conn // for http, which accepts them
	open  atomic.Int64  // requests under way
}

func newFallback(srv *Server) *fallback {
	f := &fallback{srv: srv, conns: make(chan net.Conn)}
	f.http = http.Server{
		Handler:           f,
		ReadTimeout:       fallbackTimeout,
		ReadHeaderTimeout: fallbackTimeout,
		WriteTimeout:      fallbackTimeout,
		MaxHeaderBytes:    max(srv.cfg.MaxHeader, 4<<10),
		ErrorLog:          slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
	f.http.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, tlsKey{}, nc.(*fallbackConn).tls)
	}
	f.http.SetKeepAlivesEnabled(false)
	return f
}

// run serves until the server ends.
func (f *fallback) run() { f.http.Serve(f) }

// Accept, Close and Addr make f the listener of its http.Server.
func (f *fallback) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.srv.quit.Done():
		return nil, net.ErrClosed
	}
}

func (f *fallback) Close() error   { return nil }
func (f *fallback) Addr() net.Addr { return fallbackAddr{} }

type fallbackAddr struct{}

func (fallbackAddr) Network() string { return "tcp" }
func (fallbackAddr) String() string  { return "public listener" }

// tlsKey is the key of the connection's tls.ConnectionState in a request's context.
type tlsKey struct{}

// acquire counts a request. It returns false if maxFallback are being served.
func (f *fallback) acquire() bool {
	if f.open.Add(1) > maxFallback {
		f.open.Add(-1)
		f.srv.stats.fallbackFull.Add(1)
		return false
	}
	return true
}

// serve hands over a connection whose request acquire has counted.
func (f *fallback) serve(s *Session, head, rest []byte) {
	srv := f.srv
	srv.stats.fallback.Add(1)
	s.enter(ended, 0)
	srv.wheel.Stop(s)
	nc, err := s.conn.Detach()
	if err != nil {
		f.open.Add(-1)
		s.conn.Close()
		return
	}
	read := append(append(make([]byte, 0, len(head)+len(rest)), head...), rest...)
	c := &fallbackConn{Conn: nc, read: read, tls: s.tlsState()}
	srv.background.Add(1)
	c.done = sync.OnceFunc(func() {
		f.open.Add(-1)
		srv.uncount(s)
		srv.background.Done()
	})
	go func() { // the read turn does not wait for net/http
		select {
		case f.conns <- c:
		case <-srv.quit.Done():
			c.Close()
		}
	}()
}

// fallbackConn first returns bytes that were read before, and reports when it is closed.
type fallbackConn struct {
	net.Conn
	read []byte
	tls  *tls.ConnectionState // nil: none
	done func()
}

func (c *fallbackConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *fallbackConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}

// ServeHTTP answers at the paths of endpoints, and leaves the rest to
// Config.Fallback.
func (f *fallback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.TLS, _ = r.Context().Value(tlsKey{}).(*tls.ConnectionState) // net/http knows it of a tls.Conn only
	if ep := f.srv.endpoints[r.URL.EscapedPath()]; ep != nil {
		ep.upgradeRequired(w, r)
		return
	}
	if f.srv.cfg.Fallback == nil {
		plainText(w, http.StatusNotFound, "nothing is at this path")
		return
	}
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			f.srv.panicked("Config.Fallback", v)
			panic(http.ErrAbortHandler) // net/http closes the connection
		}
	}()
	f.srv.cfg.Fallback.ServeHTTP(w, r)
}

// upgradeRequired tells a client that speaks HTTP how to use the endpoint.
func (ep *endpoint) upgradeRequired(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET") // RFC 6455 section 4.1: a handshake is nothing else
		plainText(w, http.StatusMethodNotAllowed, "only GET is possible here")
		return
	}
	if r.Header.Get(checkHeader) != "" {
		ep.answerCheck(w, r)
		return
	}
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic("BUG: server: a fallback connection cannot be hijacked: " + err.Error())
	}
	defer nc.Close()
	// net/http would take the option "upgrade" out of Connection, which Upgrade needs
	// (RFC 9110 sections 7.8 and 15.5.22).
	scheme := "ws"
	if r.TLS != nil {
		scheme = "wss"
	}
	nc.Write((&Rejection{
		Status: http.StatusUpgradeRequired,
		Text:   "This is a WebSocket endpoint. Connect to " + scheme + "://HOST" + ep.example() + " with a WebSocket client.",
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}},
	}).AppendResponse(nil, ep.srv.wall()))
}

func plainText(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// example is the path of the endpoint, with the query that its clients need.
func (ep *endpoint) example() string {
	switch ep.Credentials() {
	case "query":
		return ep.Path + "?user=NAME&topic=TOPIC"
	case "token":
		return ep.Path + "?token=TOKEN"
	}
	return ep.Path
}

// Credentials returns how the endpoint identifies users: "none", "query", or "token" for
// everything that proves an identity. It is for pages that say how to connect, such as that
// of package console.
func (ep *Endpoint) Credentials() string {
	switch {
	case ep.Identifier == nil:
		return "none"
	case ep.Insecure:
		return "query"
	}
	return "token"
}

// checkHeader marks a plain GET request at an endpoint as a question: the answer is what
// a WebSocket handshake with the same query and header would get. Browsers do not tell
// pages why a handshake was rejected, and with curl it takes four headers.
const checkHeader = "Fanfare-Check"

// answerCheck answers such a request. It counts as a handshake against the rates, so that
// it gives an attacker no more attempts at guessing a token. A page of another site cannot send
// it: the header makes browsers ask first, with OPTIONS.
func (ep *endpoint) answerCheck(w http.ResponseWriter, r *http.Request) {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	for _, f := range [][2]string{
		{"Upgrade", "websocket"}, {"Connection", "Upgrade"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		if r.Header.Get(f[0]) == "" || f[0] == "Connection" {
			h.req.head.Add(f[0], f[1])
		}
	}
	_, err := ep.decideHosted(r.Context(), h, nil)
	var rejection *Rejection
	switch {
	case err == nil:
		plainText(w, http.StatusOK, "the handshake would be accepted")
	case errors.As(err, &rejection):
		for name, values := range rejection.Header {
			w.Header()[name] = values
		}
		plainText(w, rejection.Status, rejection.Text)
	default:
		ep.srv.log.Error("handshake check failed", "err", err)
		plainText(w, errInternal.Status, errInternal.Text)
	}
}
