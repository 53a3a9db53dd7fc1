package peers

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
)

// gorillaClassic is the baseline, the push server of most Go tutorials: gin, an Upgrader with its defaults, a goroutine per
// connection that stays in the handler, another one for the pings, one map under a mutex, and a loop of WriteJSON.
var gorillaClassic = Peer{
	Name:   "gorilla-classic",
	About:  "the usual tutorial: gin + gorilla/websocket, a goroutine and a ping ticker per connection, a map under a mutex, WriteJSON",
	Module: "github.com/gorilla/websocket",
	Serve: func(o Options) error {
		s := &classic{o: o, hub: newHub[*classicConn]()}
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.GET("/echo", s.serve)
		r.GET("/ws", s.serve)
		return first(func() error { return r.Run(o.Listen) }, func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type classic struct {
	o        Options
	upgrader websocket.Upgrader
	hub      *hub[*classicConn]
}

type classicConn struct {
	*websocket.Conn
	mu sync.Mutex // gorilla allows one writer at a time
}

func (s *classic) serve(g *gin.Context) {
	r := routeOf(g.Request.URL)
	ws, err := s.upgrader.Upgrade(g.Writer, g.Request, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &classicConn{Conn: ws}
	if !r.echo {
		s.hub.add(c, r)
		defer s.hub.remove(c, r)
	}
	done := make(chan struct{})
	defer close(done)
	go c.ping(s.o.Ping, done)
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

func (c *classicConn) ping(every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeLimit)) != nil {
				return
			}
		case <-done:
			return
		}
	}
}

func (s *classic) send(to []*classicConn, body []byte) {
	for _, c := range to {
		c.mu.Lock()
		c.SetWriteDeadline(time.Now().Add(writeLimit))
		err := c.WriteJSON(json.RawMessage(body))
		c.mu.Unlock()
		if err != nil {
			c.Close()
		}
	}
}
