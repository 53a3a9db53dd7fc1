package peers

import (
	"net/http"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// nbioPeer uses lesismal/nbio in its non-blocking mode, which it recommends for many connections, with the options of its
// author's benchmark. Its keepalive is a read deadline that every message renews.
var nbioPeer = Peer{
	Name:   "nbio",
	About:  "lesismal/nbio in its non-blocking mode: its own epoll, HTTP parser and WebSocket",
	Module: "github.com/lesismal/nbio",
	TLS:    true,
	Serve: func(o Options) error {
		logging.SetLevel(logging.LevelError)
		s := &nbioServer{hub: newHub[*websocket.Conn](), pushes: websocket.NewUpgrader(), echoes: websocket.NewUpgrader()}
		s.pushes.KeepaliveTime, s.echoes.KeepaliveTime = o.idleLimit(), o.idleLimit()
		s.pushes.OnMessage(func(*websocket.Conn, websocket.MessageType, []byte) {})
		s.pushes.OnClose(func(c *websocket.Conn, _ error) {
			if r, ok := c.Session().(route); ok {
				s.hub.remove(c, r)
			}
		})
		s.echoes.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, p []byte) { c.WriteMessage(kind, p) })
		cfg := nbhttp.Config{
			Network:                 "tcp",
			Handler:                 http.HandlerFunc(s.serve),
			IOMod:                   nbhttp.IOModNonBlocking,
			ReleaseWebsocketPayload: true,
			MaxWriteBufferSize:      maxMessage,
		}
		if o.Cert == "" {
			cfg.Addrs = []string{o.Listen}
		} else {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
			if err != nil {
				return err
			}
			cfg.AddrsTLS, cfg.TLSConfig = []string{o.Listen}, &tls.Config{Certificates: []tls.Certificate{pair}}
		}
		engine := nbhttp.NewEngine(cfg)
		if err := engine.Start(); err != nil {
			return err
		}
		defer engine.Stop()
		go s.hub.beat(o.Ping, func(c *websocket.Conn) { c.WriteMessage(websocket.PingMessage, nil) })
		return serveAPI(o.API, s.hub, s.send)
	},
}

type nbioServer struct {
	hub            *hub[*websocket.Conn]
	pushes, echoes *websocket.Upgrader
}

func (s *nbioServer) serve(w http.ResponseWriter, req *http.Request) {
	r := routeOf(req.URL)
	upgrader := s.pushes
	if r.echo {
		upgrader = s.echoes
	}
	c, err := upgrader.Upgrade(w, req, nil)
	if err != nil || r.echo {
		return
	}
	s.hub.add(c, r)
	c.SetSession(r)
}

func (s *nbioServer) send(to []*websocket.Conn, body []byte) {
	parallel(to, func(c *websocket.Conn) { c.WriteMessage(websocket.TextMessage, body) })
}
