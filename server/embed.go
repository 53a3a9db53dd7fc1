package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// Handler serves an endpoint inside of a net/http server, and so under gin, chi
// and all others that stand on it. Requests that are no WebSocket handshake get
// 426.
func (srv *Server) Handler(ep Endpoint) (http.Handler, error) {
	e, err := srv.mounted(ep)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serveHTTP(w, r, nil) }), nil
}

// Upgrade completes the handshake of a request that the program has looked at
// itself: id says whose session it is, and ep.Identify is not asked. It answers
// the client in any case, so the caller returns behind it.
func (srv *Server) Upgrade(w http.ResponseWriter, r *http.Request, ep Endpoint, id Identity) error {
	e, err := srv.mounted(ep)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return err
	}
	return e.serveHTTP(w, r, &id)
}

// FastHTTP serves an endpoint inside of a fasthttp server.
func (srv *Server) FastHTTP(ep Endpoint) (fasthttp.RequestHandler, error) {
	e, err := srv.mounted(ep)
	if err != nil {
		return nil, err
	}
	return e.serveFastHTTP, nil
}

func (srv *Server) mounted(ep Endpoint) (*endpoint, error) {
	if ep.Path == "" {
		ep.Path = "/"
	}
	if err := ep.validate(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return &endpoint{Endpoint: ep, srv: srv}, nil
}

// noDeadline takes back those that the server which it came from has set on a
// hijacked connection.
var noDeadline time.Time

func (ep *endpoint) serveHTTP(w http.ResponseWriter, r *http.Request, id *Identity) error {
	hijacker, ok := w.(http.Hijacker)
	if !headerHasToken(r.Header, "Upgrade", "websocket") || !ok {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "this is a WebSocket endpoint, and needs HTTP/1.1", http.StatusUpgradeRequired)
		return errors.New("server: no WebSocket handshake")
	}
	// The request as it was on the wire, so that one piece of code looks at it.
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s %s\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.Proto, r.Host)
	r.Header.Write(&head)
	head.WriteString("\r\n")
	nc, rw, err := hijacker.Hijack()
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return fmt.Errorf("server: hijack: %w", err)
	}
	nc.SetDeadline(noDeadline)
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered())
	head.Write(ahead)
	return ep.adopt(nc, head.Bytes(), id)
}

func headerHasToken(h http.Header, name, token string) bool {
	var r Request
	for _, v := range h.Values(name) {
		r.headers = append(r.headers, header{[]byte(name), []byte(v)})
	}
	return r.hasToken(name, token)
}

func (ep *endpoint) serveFastHTTP(ctx *fasthttp.RequestCtx) {
	if !bytes.EqualFold(ctx.Request.Header.Peek("Upgrade"), []byte("websocket")) {
		ctx.Response.Header.Set("Upgrade", "websocket")
		ctx.Response.Header.Set("Connection", "Upgrade")
		ctx.Error("this is a WebSocket endpoint", fasthttp.StatusUpgradeRequired)
		return
	}
	head := append([]byte(nil), ctx.Request.Header.Header()...)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		nc := c
		if inner, ok := c.(interface{ UnsafeConn() net.Conn }); ok {
			nc = inner.UnsafeConn()
		}
		// What fasthttp has read ahead comes out of c before any read of the
		// socket, and a deadline in the past keeps it to that.
		nc.SetReadDeadline(time.Unix(1, 0))
		ahead, _ := io.ReadAll(io.LimitReader(c, int64(ep.srv.cfg.MaxHeader)))
		nc.SetDeadline(noDeadline)
		ep.adopt(nc, append(head, ahead...), nil)
	})
}

// adopt opens a session on a connection that was hijacked. head is its request
// and what came behind it.
func (ep *endpoint) adopt(nc net.Conn, head []byte, id *Identity) error {
	srv := ep.srv
	if srv.status.Load() >= draining {
		nc.Write(refusal)
		nc.Close()
		return errors.New("server: shutting down")
	}
	s := srv.newSession(ep)
	if s == nil {
		nc.Write(refusal)
		nc.Close()
		return errors.New("server: full")
	}
	if id != nil {
		s.extend().preset = id
	}
	if err := srv.engine.Adopt(nc, &s.conn, handler{s}, head); err != nil {
		nc.Close()
		srv.wheel.Stop(s)
		srv.connections.Add(-1)
		return fmt.Errorf("server: adopt: %w", err)
	}
	return nil
}
