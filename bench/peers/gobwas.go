package peers

import (
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// gobwas uses gobwas/ws as in the first example of its README: a goroutine per connection, the zero-copy upgrade, wsutil for
// messages. A push is compiled once and written by as many goroutines as there are Ps.
var gobwas = Peer{
	Name:   "gobwas",
	About:  "gobwas/ws with a goroutine per connection: zero-copy upgrade, wsutil, compiled frames",
	Module: "github.com/gobwas/ws",
	Serve: func(o Options) error {
		s := &gobwasServer{o: o, hub: newHub[*gobwasConn]()}
		go s.hub.beat(o.Ping, func(c *gobwasConn) { c.write(ws.CompiledPing) })
		return first(s.listen, func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type gobwasServer struct {
	o   Options
	hub *hub[*gobwasConn]
}

type gobwasConn struct {
	net.Conn
	mu sync.Mutex
}

func (c *gobwasConn) write(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SetWriteDeadline(time.Now().Add(writeLimit))
	if _, err := c.Write(frame); err != nil {
		c.Close()
	}
}

func (s *gobwasServer) listen() error {
	l, err := net.Listen("tcp", s.o.Listen)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go s.serve(&gobwasConn{Conn: conn})
	}
}

func (s *gobwasServer) serve(c *gobwasConn) {
	defer c.Close()
	r, err := upgrade(c)
	if err != nil {
		return
	}
	if !r.echo {
		s.hub.add(c, r)
		defer s.hub.remove(c, r)
	}
	for {
		c.SetReadDeadline(time.Now().Add(s.o.idleLimit()))
		// One frame at a time, so that a pong renews the deadline.
		p, op, err := readOne(c, &c.mu)
		if err != nil {
			return
		}
		if p == nil || !r.echo {
			continue
		}
		c.mu.Lock()
		err = wsutil.WriteServerMessage(c, op, p)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// upgrade performs the zero-copy handshake and returns the request target.
func upgrade(c net.Conn) (r route, err error) {
	u := ws.Upgrader{OnRequest: func(uri []byte) error {
		target, err := url.ParseRequestURI(string(uri))
		if err == nil {
			r = routeOf(target)
		}
		return err
	}}
	_, err = u.Upgrade(c)
	return r, err
}

// readOne reads a data message, or a control frame, which it answers; then p is nil.
func readOne(c net.Conn, mu sync.Locker) (p []byte, op ws.OpCode, err error) {
	h, rd, err := wsutil.NextReader(c, ws.StateServerSide)
	if err != nil {
		return nil, 0, err
	}
	if h.OpCode.IsControl() {
		mu.Lock()
		defer mu.Unlock()
		return nil, h.OpCode, wsutil.ControlFrameHandler(c, ws.StateServerSide)(h, rd)
	}
	if h.Fin {
		p = make([]byte, h.Length)
		_, err = io.ReadFull(rd, p)
		return p, h.OpCode, err
	}
	p, err = io.ReadAll(rd)
	return p, h.OpCode, err
}

func (s *gobwasServer) send(to []*gobwasConn, body []byte) {
	frame := ws.MustCompileFrame(ws.NewTextFrame(body))
	parallel(to, func(c *gobwasConn) { c.write(frame) })
}
