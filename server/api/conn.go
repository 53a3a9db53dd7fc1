package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/answers"
	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/places"
	"fanfare/server/api/internal/problem"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/proxyproto"
	"fanfare/server/internal/secure"
)

// conn is a connection of the API.
type conn struct {
	net.Conn
	places.Place      // for API.conns
	api          *API // immutable

	// Owned by the goroutine that serves the connection.

	// ended: the client has sent its last byte. fasthttp takes that for the end of a
	// body even if more was announced, and half a message would be delivered.
	ended   bool
	begun   bool           // the first byte has been read
	read    int            // bytes since the last yield
	known   bool           // a request was authorized
	answers *answers.Queue // of the batch in progress; nil: none

	// unread: the client may still be sending a request that was rejected. A close with
	// unread bytes resets the connection, and the client would not see the answer.
	unread atomic.Bool
	// patient: linger for longer, for a client that sends a whole batch before it reads, until
	// it pauses.
	patient atomic.Bool
}

const (
	// lingerTime and lingerBytes bound what is read of a request that was rejected.
	lingerTime  = time.Second
	lingerBytes = 16 << 20
	// lingerPause ends the patience with a client that has stopped sending.
	lingerPause = 5 * time.Second
)

// connOf returns the connection of a request; nil in a test without one.
func connOf(ctx *fasthttp.RequestCtx) *conn {
	c, _ := ctx.Conn().(*conn)
	return c
}

// setUnread notes whether the client may still be sending.
func setUnread(ctx *fasthttp.RequestCtx, unread bool) {
	if c := connOf(ctx); c != nil {
		c.unread.Store(unread)
	}
}

// stretch is how many bytes one connection reads before it yields. It takes some 30 µs.
const stretch = body.Long

// Read yields after each stretch. A goroutine often runs on the thread that the runtime's
// poller woke for it, and while it finds more to read, up to the end of a long body, no
// thread asks that poller: other ready descriptors, among them the epoll descriptor of all
// WebSockets, wait for up to 10 ms, although a processor is idle. Gosched wakes a
// thread, which polls when it finds nothing else to do.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), stretch)])
	if !c.begun && n > 0 {
		c.begun = true
		if p[0] == recordTypeHandshake {
			return 0, c.rejectHello()
		}
	}
	c.ended = c.ended || err != nil
	c.api.received.Add(int64(n))
	if c.read += n; c.read >= stretch {
		c.read = 0
		runtime.Gosched()
	}
	return n, err
}

// recordTypeHandshake is the first byte of a TLS connection: RFC 8446 section 5.1. No request
// begins with it.
const recordTypeHandshake = 22

// rejectHello answers a client that speaks TLS to a listener without it, and would wait for a
// ServerHello. TLS clients name the first bytes of the answer, or say that it is HTTP.
func (c *conn) rejectHello() error {
	p := problem.Errorf(400, "bad_request", "a TLS handshake arrived at the API, which is without TLS: use http://, or configure TLS")
	c.api.requests.count(nil, p.Status)
	c.api.cfg.Logger.Debug("API connection rejected", "address", c.RemoteAddr(), "err", p.Message)
	c.answerLast(p)
	return io.EOF
}

// answerLast answers what is not served, before the connection is closed.
func (c *conn) answerLast(p *problem.Problem) {
	var r fasthttp.Response
	p.Answer(&r)
	r.Header.SetServer(serverName)
	r.SetConnectionClose()
	r.WriteTo(c)
	c.unread.Store(true)
}

// Write sends p, or queues it if it answers a batch whose client does not read.
func (c *conn) Write(p []byte) (int, error) {
	c.api.sent.Add(int64(len(p)))
	if c.answers != nil {
		return c.answers.Write(p)
	}
	return c.Conn.Write(p)
}

// Close is called by fasthttp. After a rejection it lingers, so that the client can read
// the answer.
func (c *conn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.unread.Load() && half.CloseWrite() == nil {
		c.linger()
	}
	return c.Conn.Close()
}

// linger discards what the client still sends, within limits.
func (c *conn) linger() {
	d, pause, left := lingerTime, lingerTime, lingerBytes
	if c.patient.Load() {
		d, pause, left = c.api.idle, c.api.pause, discardBytes
	}
	end := c.api.now().Add(d)
	discarded := make([]byte, 16<<10)
	for left > 0 {
		deadline := c.api.now().Add(pause)
		if deadline.After(end) {
			deadline = end
		}
		c.Conn.SetReadDeadline(deadline)
		n, err := c.Read(discarded)
		if left -= n; err != nil {
			return
		}
	}
}

// abort closes the connection at once. The Close of a TLS connection would wait for a
// client that does not read.
func (c *conn) abort() {
	if tc, ok := c.Conn.(*secure.Conn); ok {
		tc.NetConn().Close()
		return
	}
	c.Conn.Close()
}

// retryListener retries when accept fails, for example without a free descriptor. fasthttp
// would stop serving.
type retryListener struct {
	net.Listener
	api     *API
	retries int // in a row; owned by the goroutine that accepts
}

const (
	retryMin = 5 * time.Millisecond
	retryMax = time.Second
)

// Accept fails only when the listener is closed or the API ends.
func (l *retryListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.retries = 0
			return &conn{Conn: l.api.secure(c), api: l.api}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		delay := min(retryMin<<min(l.retries, 10), retryMax)
		if l.retries == 0 {
			l.api.cfg.Logger.Error("API accept failed", "err", err, "retry", delay)
		}
		l.retries++
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-l.api.quit.Done():
			timer.Stop()
			return nil, net.ErrClosed
		}
	}
}

// secure returns a connection that was accepted, with TLS if the API has it. The first
// Read does the handshake, within readTimeout. A PROXY protocol header comes before that.
func (a *API) secure(nc net.Conn) net.Conn {
	if peer, ok := nc.RemoteAddr().(*net.TCPAddr); ok && limit.Proxies(a.cfg.ProxyProtocol).Contain(peer.AddrPort().Addr().Unmap()) {
		nc = proxyproto.NewConn(nc, func(err error) {
			a.proxyHeaders.Add(1)
			a.cfg.Logger.Debug("API connection rejected", "address", peer, "err", err)
		})
	}
	cfg := a.tls.Load()
	if cfg == nil {
		return nc
	}
	return secure.NewConn(nc, cfg, func(_ *tls.ConnectionState, err error) {
		if err == nil {
			a.tlsHandshakes.Add(1)
			return
		}
		a.tlsFailed.Add(1)
		a.cfg.Logger.Debug("API TLS handshake failed", "address", nc.RemoteAddr(), "reason", secure.Reason(err), "err", err)
	})
}

// boundedListener accepts connections that get a place in API.conns, and answers all
// others with 503. fasthttp would answer in plain text and reset the connection.
type boundedListener struct {
	net.Listener // a retryListener
	api          *API
}

func (l boundedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := nc.(*conn)
		victim, replaced, ok := l.api.conns.Add(c)
		if replaced {
			l.api.displaced.Add(1)
			victim.abort()
		}
		if ok {
			return c, nil
		}
		l.api.reject(c)
	}
}

// fullProblem returns the answer to a connection without a place.
func fullProblem(t *places.Table[*conn]) *problem.Problem {
	cause := ""
	if n := t.Descriptors(); n > 0 {
		cause = fmt.Sprintf("; the limit follows from the descriptor limit of the server, which is %d", n)
	}
	return problem.Errorf(503, "too_many_connections", "all %d connections of the API have a request in progress; send fewer requests at a time%s", t.Limit(), cause)
}

// reject answers a connection that has no place.
func (a *API) reject(c *conn) {
	a.unserved.Add(1)
	if !a.conns.Reject(c) {
		c.abort()
		return
	}
	a.background.Go(func() { // the caller is one of these goroutines, too: Shutdown still waits
		a.guard("reject", func() { c.reject(a.full) })
		a.conns.Rejected(c)
	})
}

// reject answers the first request, whatever it is, and closes the connection. It waits
// for the request to begin, because clients report an earlier answer as a protocol error.
func (c *conn) reject(p *problem.Problem) {
	c.SetDeadline(c.api.now().Add(lingerTime))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		c.answerLast(p)
	}
	c.Close()
}

// track is called by fasthttp when the state of a connection changes.
func (a *API) track(nc net.Conn, state fasthttp.ConnState) {
	c := nc.(*conn) // retryListener returns no others
	if a.conns.Note(c, state) {
		c.abort()
	}
}

// cutOff reports whether a body ended because the connection did.
func cutOff(ctx *fasthttp.RequestCtx) bool {
	c := connOf(ctx)
	return c != nil && c.ended
}

// readBody reads the body of a request, see body.Read.
func (a *API) readBody(ctx *fasthttp.RequestCtx, limit int) (*body.Body, *problem.Problem) {
	return body.Read(ctx, limit, a.slots, func() bool { return cutOff(ctx) })
}
