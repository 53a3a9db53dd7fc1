package server

import (
	"context"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// plainTimeout bounds reading and answering an ordinary request.
const plainTimeout = 10 * time.Second

// newPlain makes the HTTP server for requests on the public listener that are
// no WebSocket handshake. A connection serves one request, so that it does not
// sit on a goroutine afterwards.
func (srv *Server) newPlain() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               srv.plainHandler,
		Name:                  "fanfare",
		Concurrency:           1024,
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

// servePlain hands a connection whose request is ordinary HTTP to fasthttp.
func (srv *Server) servePlain(s *Session, head, rest []byte) {
	srv.stats.plain.Add(1)
	s.enter(over, 0)
	srv.wheel.Stop(s)
	nc, err := s.conn.Detach()
	if err != nil {
		s.conn.Close()
		return
	}
	replay := append(append(make([]byte, 0, len(head)+len(rest)), head...), rest...)
	srv.background.Go(func() {
		defer srv.depart(s)
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
