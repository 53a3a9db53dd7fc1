// Package fallback serves HTTP requests of connections that were accepted, and read, by
// something else. A connection serves one request, so that it does not keep a goroutine
// afterwards.
package fallback

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// timeout bounds reading a request, and answering it.
	timeout = 10 * time.Second
	// MaxRequests bounds the requests served at a time, each with a goroutine.
	MaxRequests = 1024
)

// Server serves the requests with net/http.
type Server struct {
	quit    context.Context
	handler http.Handler
	http    http.Server
	conns   chan net.Conn // for http, which accepts them
	open    atomic.Int64  // requests under way
}

// New returns a Server, which serves once Run is called and until quit is done.
func New(quit context.Context, h http.Handler, maxHeader int, log *slog.Logger) *Server {
	s := &Server{quit: quit, handler: h, conns: make(chan net.Conn)}
	s.http = http.Server{
		Handler:           s,
		ReadTimeout:       timeout,
		ReadHeaderTimeout: timeout,
		WriteTimeout:      timeout,
		MaxHeaderBytes:    max(maxHeader, 4<<10),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, tlsKey{}, nc.(*conn).tls)
	}
	s.http.SetKeepAlivesEnabled(false)
	context.AfterFunc(quit, func() { s.http.Close() })
	return s
}

// Run serves until quit is done.
func (s *Server) Run() { s.http.Serve(listener{s}) }

// Acquire takes one of MaxRequests slots, and reports whether one was free. Release frees the
// slot, and so does closing a connection given to Serve.
func (s *Server) Acquire() bool {
	if s.open.Add(1) > MaxRequests {
		s.open.Add(-1)
		return false
	}
	return true
}

// Release takes back Acquire for a connection that is not given to Serve.
func (s *Server) Release() { s.open.Add(-1) }

// Open returns the number of requests under way.
func (s *Server) Open() int { return int(s.open.Load()) }

// Serve serves the request of a connection, which Acquire has counted. read is what was read
// of the connection, and state describes its TLS, nil if it has none. done is called once,
// when the connection is closed. Serve does not wait for net/http.
func (s *Server) Serve(nc net.Conn, read []byte, state *tls.ConnectionState, done func()) {
	c := &conn{Conn: nc, read: read, tls: state, done: sync.OnceFunc(func() {
		s.Release()
		done()
	})}
	go func() {
		select {
		case s.conns <- c:
		case <-s.quit.Done():
			c.Close()
		}
	}()
}

// ServeHTTP sets Request.TLS, which net/http does for a tls.Conn only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.TLS, _ = r.Context().Value(tlsKey{}).(*tls.ConnectionState)
	s.handler.ServeHTTP(w, r)
}

// tlsKey is the key of the connection's tls.ConnectionState in a request's context.
type tlsKey struct{}

// conn returns bytes that were read before it reads its connection, and reports its close.
type conn struct {
	net.Conn
	read []byte
	tls  *tls.ConnectionState // nil: none
	done func()
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *conn) Close() error {
	defer c.done()
	return c.Conn.Close()
}

// listener gives http.Server the connections of a Server.
type listener struct{ s *Server }

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.s.conns:
		return c, nil
	case <-l.s.quit.Done():
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "tcp" }
func (address) String() string  { return "public listener" }
