package api

import (
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

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
			return &conn{Conn: c, api: l.api}, nil
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

// boundedListener accepts connections that get a place in the connTable, and answers all
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
		victim, ok := l.api.conns.add(c)
		if victim != nil {
			l.api.displaced.Add(1)
			victim.abort()
		}
		if ok {
			return c, nil
		}
		l.api.reject(c)
	}
}

// reject answers a connection that has no place.
func (a *API) reject(c *conn) {
	a.unserved.Add(1)
	if !a.conns.reject(c) {
		c.abort()
		return
	}
	a.background.Go(func() { // the caller is one of these goroutines, too: Shutdown still waits
		a.guard("reject", func() { c.reject(a.conns.full) })
		a.conns.rejectDone(c)
	})
}

// reject answers the first request, whatever it is, and closes the connection. It waits
// for the request to begin, because clients report an earlier answer as a protocol error.
func (c *conn) reject(p *problem) {
	c.SetDeadline(c.api.now().Add(lingerTime))
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

// track is called by fasthttp when the state of a connection changes.
func (a *API) track(nc net.Conn, state fasthttp.ConnState) {
	c := nc.(*conn) // retryListener returns no others
	if a.conns.note(c, state) {
		c.abort()
	}
}
