package server

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// apiConn is a connection of the API.
type apiConn struct {
	net.Conn

	// ended: the client has sent its last byte. To fasthttp that is the end of a body
	// also when more of it was announced, and half a message would be delivered.
	ended bool // owned by the goroutine that serves the connection

	// unread: the client may still be sending what was refused. Closed with bytes
	// unread, the connection is reset, and the client never sees the answer.
	unread atomic.Bool
}

const (
	// lingerTime and lingerBytes bound what is read of a request that was refused.
	lingerTime  = time.Second
	lingerBytes = 16 << 20
)

// connOf is the connection of a request; nil if it came over none, in a test.
func connOf(ctx *fasthttp.RequestCtx) *apiConn {
	c, _ := ctx.Conn().(*apiConn)
	return c
}

// mayBeUnread tells whether the client may still be sending.
func mayBeUnread(ctx *fasthttp.RequestCtx, may bool) {
	if c := connOf(ctx); c != nil {
		c.unread.Store(may)
	}
}

func (c *apiConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || err != nil
	return n, err
}

// Close is called by fasthttp. It lets a client that was refused read its answer.
func (c *apiConn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.unread.Load() && half.CloseWrite() == nil {
		c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}

// abort closes the connection at once.
func (c *apiConn) abort() { c.Conn.Close() }
