package peers

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla uses gorilla/websocket as well as possible: a WriteBufferPool and small read buffers, as its documentation
// recommends for many connections; the handler returns, so that its stack and request are freed; one goroutine per
// connection; a PreparedMessage, written by as many goroutines as there are Ps.
var gorilla = Peer{
	Name:   "gorilla",
	About:  "gorilla/websocket, optimized: one goroutine per connection, pooled write buffers, PreparedMessage written in parallel",
	Module: "github.com/gorilla/websocket",
	TLS:    true,
	Serve: func(o Options) error {
		s := &gorillaServer{o: o, hub: newHub[*gorillaConn]()}
		s.upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{}}
		go s.hub.beat(o.Ping, func(c *gorillaConn) {
			c.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeLimit))
		})
		return first(
			func() error {
				if o.Cert != "" {
					return http.ListenAndServeTLS(o.Listen, o.Cert, o.Key, http.HandlerFunc(s.serve))
				}
				return http.ListenAndServe(o.Listen, http.HandlerFunc(s.serve))
			},
			func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type gorillaServer struct {
	o        Options
	upgrader websocket.Upgrader
	hub      *hub[*gorillaConn]
}

type gorillaConn struct {
	*websocket.Conn
	mu sync.Mutex // gorilla allows one writer at a time
}

func (s *gorillaServer) serve(w http.ResponseWriter, req *http.Request) {
	r := routeOf(req.URL)
	ws, err := s.upgrader.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	c := &gorillaConn{Conn: ws}
	c.SetReadLimit(maxMessage)
	if !r.echo {
		s.hub.add(c, r)
	}
	go s.read(c, r)
}

func (s *gorillaServer) read(c *gorillaConn, r route) {
	defer c.Close()
	if !r.echo {
		defer s.hub.remove(c, r)
	}
	c.SetReadDeadline(time.Now().Add(s.o.idleLimit()))
	c.SetPongHandler(func(string) error { return c.SetReadDeadline(time.Now().Add(s.o.idleLimit())) })
	for {
		kind, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		if !r.echo {
			continue
		}
		c.mu.Lock()
		err = c.WriteMessage(kind, p)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *gorillaServer) send(to []*gorillaConn, body []byte) {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, body)
	if err != nil {
		return
	}
	parallel(to, func(c *gorillaConn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.SetWriteDeadline(time.Now().Add(writeLimit))
		if c.WritePreparedMessage(m) != nil {
			c.Close()
		}
	})
}
