package server

import (
	"context"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// plainTimeout bounds reading and answering an ordinary request.
	plainTimeout = 10 * time.Second
	// plainMost bounds those at a time: each has a goroutine.
	plainMost = 1024
)

// errPlainFull is sent instead of fasthttp's own answer, which does not say when
// to come again.
var errPlainFull = &Refusal{Status: 503, Text: "too many requests at once", header: "Retry-After: 1\r\n"}

// admitPlain counts an ordinary request. It reports false if there are as many as
// may be.
func (srv *Server) admitPlain() bool {
	if srv.plainOpen.Add(1) > plainMost {
		srv.plainOpen.Add(-1)
		srv.stats.crammed.Add(1)
		return false
	}
	return true
}

// newPlain makes the HTTP server for requests on the public listener that are
// no WebSocket handshake. A connection serves one request, so that it does not
// sit on a goroutine afterwards.
func (srv *Server) newPlain() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               srv.plainHandler,
		Name:                  "fanfare",
		Concurrency:           plainMost,
		DisableKeepalive:      true,
		ReadTimeout:           plainTimeout,
		WriteTimeout:          plainTimeout,
		MaxRequestBodySize:    64 << 10,
		ReadBufferSize:        max(srv.cfg.MaxHeader, 4<<10),
		NoDefaultServerHeader: true,
		CloseOnShutdown:       true,
		Logger:                fasthttpLog{srv.log},
	}
}

// servePlain hands a connection whose request is ordinary HTTP, and admitted, to
// fasthttp.
func (srv *Server) servePlain(s *Session, head, rest []byte) {
	srv.stats.plain.Add(1)
	s.enter(over, 0)
	srv.wheel.Stop(s)
	nc, err := s.conn.Detach()
	if err != nil {
		srv.plainOpen.Add(-1)
		s.conn.Close()
		return
	}
	replay := append(append(make([]byte, 0, len(head)+len(rest)), head...), rest...)
	srv.background.Go(func() {
		defer srv.depart(s)
		defer srv.plainOpen.Add(-1)
		defer nc.Close()
		defer context.AfterFunc(srv.quit, func() { nc.Close() })()
		srv.plain.ServeConn(&replayConn{Conn: nc, replay: replay})
	})
}

// replayConn gives back what was read before.
type replayConn struct {
	net.Conn
	replay []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(p, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
