package api

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// conn is a connection of the API.
type conn struct {
	net.Conn

	// ended: the client has sent its last byte. To fasthttp that is the end of a body
	// also when more of it was announced, and half a message would be delivered.
	ended bool // owned by the goroutine that serves the connection

	// read is what came since others were let go first.
	read int // owned by the goroutine that serves the connection

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
func connOf(ctx *fasthttp.RequestCtx) *conn {
	c, _ := ctx.Conn().(*conn)
	return c
}

// mayBeUnread tells whether the client may still be sending.
func mayBeUnread(ctx *fasthttp.RequestCtx, may bool) {
	if c := connOf(ctx); c != nil {
		c.unread.Store(may)
	}
}

// stretch is how many bytes one connection is read of before others come first. It
// takes some 30 µs.
const stretch = 64 << 10

// Read lets others go first behind each stretch. A goroutine often runs on the thread
// that was woken for it by the runtime's poller, and as long as it finds more to read,
// up to the end of a long body, no thread asks that poller: what is ready meanwhile,
// the descriptor that all WebSockets are behind among it, waits for it, or for 10 ms,
// although there is a processor with nothing to do. Gosched wakes a thread for that
// one, and when it finds nothing else it waits for the poller.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), stretch)])
	c.ended = c.ended || err != nil
	if c.read += n; c.read >= stretch {
		c.read = 0
		runtime.Gosched()
	}
	return n, err
}

// Close is called by fasthttp. It lets a client that was refused read its answer.
func (c *conn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.unread.Load() && half.CloseWrite() == nil {
		c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c, lingerBytes)
	}
	return c.Conn.Close()
}

// abort closes the connection at once.
func (c *conn) abort() { c.Conn.Close() }
