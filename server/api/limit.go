package api

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// roomListener accepts the connections that the API has room for, and tells the
// others. fasthttp would do that in plain text, and then reset the connection.
type roomListener struct {
	net.Listener // of apiConns
	api          *API
}

const (
	// maxConnections at a time; further ones get 503. Backends hold few.
	maxConnections = 4096
	// maxRejections under way at a time, each for 2 s at most; further ones are closed
	// without a word.
	maxRejections = 64
)

var errFull = &problem{503, "too_many_connections", "the API has as many connections as it takes; keep them open between requests, and close those that are not needed"}

func (l roomListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.api.room() {
			return c, err
		}
		l.api.turnAway(c.(*conn))
	}
}

// room tells whether one more connection can be served. fasthttp calls track before
// it accepts the next one.
func (a *API) room() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns) < a.limit
}

func (a *API) turnAway(c *conn) {
	a.unserved.Add(1)
	a.mu.Lock()
	answer := len(a.rejected) < maxRejections && !a.stopping
	if answer {
		a.rejected[c] = struct{}{}
	}
	a.mu.Unlock()
	if !answer {
		c.abort()
		return
	}
	a.background.Go(func() {
		c.refuse(errFull)
		a.mu.Lock()
		delete(a.rejected, c)
		a.mu.Unlock()
	})
}

// refuse answers the first request, whatever it is, and closes. It waits for the
// request to begin: a client takes an answer that comes before for a broken server.
func (c *conn) refuse(p *problem) {
	c.SetDeadline(time.Now().Add(lingerTime))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		var r fasthttp.Response
		p.answer(&r)
		r.Header.SetServer(serverName)
		r.SetConnectionClose()
		r.WriteTo(c)
		c.unread.Store(true)
	}
	c.Close()
}
