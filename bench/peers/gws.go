package peers

import (
	"net"
	"net/http"
	"time"

	"github.com/lxzan/gws"
)

// gwsPeer uses lxzan/gws with its own server and its Broadcaster, which writes to each connection from a queue of that
// connection. ParallelEnabled stays off: it handles the messages of one connection concurrently, which reorders answers.
var gwsPeer = Peer{
	Name:   "gws",
	About:  "lxzan/gws: its own server, a goroutine per connection, its Broadcaster",
	Module: "github.com/lxzan/gws",
	Serve: func(o Options) error {
		s := &gwsServer{o: o, hub: newHub[*gws.Conn]()}
		server := gws.NewServer(s, &gws.ServerOption{
			ReadMaxPayloadSize: maxMessage,
			Recovery:           gws.Recovery,
			Authorize: func(r *http.Request, session gws.SessionStorage) bool {
				session.Store("route", routeOf(r.URL))
				return true
			},
		})
		server.OnError = func(net.Conn, error) {}
		go s.hub.beat(o.Ping, func(c *gws.Conn) { c.WritePing(nil) })
		return first(func() error { return server.Run(o.Listen) }, func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type gwsServer struct {
	gws.BuiltinEventHandler
	o   Options
	hub *hub[*gws.Conn]
}

func gwsRoute(c *gws.Conn) route {
	r, _ := c.Session().Load("route")
	return r.(route)
}

func (s *gwsServer) OnOpen(c *gws.Conn) {
	c.SetReadDeadline(time.Now().Add(s.o.idleLimit()))
	if r := gwsRoute(c); !r.echo {
		s.hub.add(c, r)
	}
}

func (s *gwsServer) OnClose(c *gws.Conn, _ error) {
	if r := gwsRoute(c); !r.echo {
		s.hub.remove(c, r)
	}
}

func (s *gwsServer) OnPong(c *gws.Conn, _ []byte) {
	c.SetReadDeadline(time.Now().Add(s.o.idleLimit()))
}

func (s *gwsServer) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if gwsRoute(c).echo {
		c.WriteMessage(m.Opcode, m.Bytes())
	}
}

func (s *gwsServer) send(to []*gws.Conn, body []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, body)
	defer b.Close()
	for _, c := range to {
		b.Broadcast(c)
	}
}
