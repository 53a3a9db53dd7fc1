package peers

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

// coder uses coder/websocket as its documentation shows: net/http, Accept, and a handler that reads; Write may be called
// concurrently. Ping waits for the pong, so the heartbeat starts a goroutine for each ping.
var coder = Peer{
	Name:   "coder",
	About:  "coder/websocket on net/http: a goroutine per connection, concurrent writes",
	Module: "github.com/coder/websocket",
	Serve: func(o Options) error {
		s := &coderServer{o: o, hub: newHub[*websocket.Conn]()}
		go s.hub.beat(o.Ping, func(c *websocket.Conn) { go s.ping(c) })
		return first(
			func() error { return http.ListenAndServe(o.Listen, http.HandlerFunc(s.serve)) },
			func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type coderServer struct {
	o   Options
	hub *hub[*websocket.Conn]
}

func (s *coderServer) serve(w http.ResponseWriter, req *http.Request) {
	r := routeOf(req.URL)
	c, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(maxMessage)
	if !r.echo {
		s.hub.add(c, r)
		defer s.hub.remove(c, r)
	}
	ctx := context.Background()
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return
		}
		if r.echo && c.Write(ctx, kind, p) != nil {
			return
		}
	}
}

func (s *coderServer) ping(c *websocket.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.PongWait)
	defer cancel()
	if c.Ping(ctx) != nil {
		c.CloseNow()
	}
}

func (s *coderServer) send(to []*websocket.Conn, body []byte) {
	parallel(to, func(c *websocket.Conn) {
		// A context for each write: when it ends, the library closes the connection.
		ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
		defer cancel()
		c.Write(ctx, websocket.MessageText, body)
	})
}
