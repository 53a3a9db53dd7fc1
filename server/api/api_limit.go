package server

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// roomListener accepts the connections that the API has room for, and tells the
// others. fasthttp would do that in plain text, and then reset the connection.
type roomListener struct {
	net.Listener // of apiConns
	api          *api
}

const (
	// apiConnections at a time; further ones get 503. Backends hold few.
	apiConnections = 4096
	// apiRefusals under way at a time, each for 2 s at most; further ones are closed
	// without a word.
	apiRefusals = 64
)

var apiFull = &problem{503, "too_many_connections", "the API has as many connections as it takes; keep them open between requests, and close those that are not needed"}

func (l roomListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.api.room() {
			return c, err
		}
		l.api.turnAway(c.(*apiConn))
	}
}

// room tells whether one more connection can be served. fasthttp calls track before
// it accepts the next one.
func (a *api) room() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns) < a.limit
}

func (a *api) turnAway(c *apiConn) {
	a.srv.stats.unserved.Add(1)
	a.mu.Lock()
	answer := len(a.refused) < apiRefusals && !a.stopping
	if answer {
		a.refused[c] = struct{}{}
	}
	a.mu.Unlock()
	if !answer {
		c.abort()
		return
	}
	a.srv.background.Go(func() {
		c.refuse(apiFull)
		a.mu.Lock()
		delete(a.refused, c)
		a.mu.Unlock()
	})
}

// refuse answers the first request, whatever it is, and closes. It waits for the
// request to begin: a client takes an answer that comes before for a broken server.
func (c *apiConn) refuse(p *problem) {
	c.SetDeadline(time.Now().Add(lingerTime))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		var r fasthttp.Response
		p.answer(&r)
		r.Header.SetServer(apiName)
		r.SetConnectionClose()
		r.WriteTo(c)
		c.unread.Store(true)
	}
	c.Close()
}
