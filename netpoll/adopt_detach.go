package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Adopt takes over a connection that was accepted elsewhere, for example by net/http.
// If Watches(nc) is true its descriptor moves to the engine, otherwise a goroutine serves
// it; the caller must not use nc afterwards. c belongs to h. Adopt calls h.Open before it
// returns, and then h.Data with pending, the bytes that were read ahead, if there are any.
//
// After an error h was not called, c cannot be used again, and nc is as it was: the
// caller can write an answer to it, and closes it.
func (e *Engine) Adopt(nc net.Conn, c *Conn, h Handler, pending []byte) error {
	if !e.enter() {
		return net.ErrClosed
	}
	defer e.done.Done()
	if e.Watches(nc) {
		fd, err := dupDescriptor(nc)
		if err != nil {
			return err
		}
		if err := e.watchFD(fd, c, h); err != nil {
			return err
		}
		nc.Close() // takes it out of the runtime's poller; one descriptor is left
		c.handOver(pending)
		e.finish(c)
		return nil
	}
	e.openStream(nc, c, h)
	c.handOver(pending)
	go c.pump(c.stream())
	return nil
}

// Watches reports whether Adopt takes the descriptor out of nc. It does not if nc
// transforms or observes the bytes: a TLS connection, or a wrapper that counts them.
func (e *Engine) Watches(nc net.Conn) bool {
	return e.poller != nil && isSocket(nc)
}

// isSocket reports whether v is a plain socket. It names the types, because a type that
// embeds a *net.TCPConn has a SyscallConn, too, and may do anything in Read, Write and
// Close.
func isSocket(v any) bool {
	switch v.(type) {
	case *net.TCPConn, *net.UnixConn, *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}

// handOver calls Handler.Open, and Data with the bytes that were read ahead. The caller
// holds the turn.
func (c *Conn) handOver(pending []byte) {
	if c.stream() != nil {
		c.openStream()
		c.deliverAll(pending)
		return
	}
	c.handler.Open(c)
	for len(pending) > 0 && !c.has(flagClosing|flagReleased) {
		pending = pending[c.data(pending):]
		if len(pending) > 0 && c.engine.keepLeftover(c, pending) {
			return
		}
	}
}

// deliverAll gives b to the handler of a connection with a goroutine of its own, which
// has no other connection to serve first.
func (c *Conn) deliverAll(b []byte) {
	s := c.stream()
	s.handling.Store(true)
	defer s.handling.Store(false)
	for len(b) > 0 && !c.has(flagClosing|flagReleased) {
		b = b[c.data(b):]
		c.Uncork()
	}
}

// ErrDetached is what Detach returns for a connection that is closed or sealed, or has
// unsent bytes.
var ErrDetached = errors.New("netpoll: connection is closed or has unsent bytes")

// Detach takes the connection away from the engine and returns it as a net.Conn, for
// protocols that the engine does not serve. Only Handler.Open and Handler.Data may call
// it, and must not use c afterwards: the engine ignores what Data returns, and does not
// call Handler.Close. After an error the connection is unchanged.
func (c *Conn) Detach() (net.Conn, error) {
	var nc net.Conn
	var err error
	s, l := c.stream(), c.layer()
	if s != nil {
		nc = s.nc
	} else if nc, err = connOf(int(c.fd)); err != nil {
		return nil, fmt.Errorf("netpoll: detach: %w", err)
	}
	c.mu.Lock()
	ok := !c.hasLocked(flagSealed) && (c.out == nil || c.out.empty())
	if ok {
		if c.out != nil {
			c.freeQueueLocked() // corked, but empty
		}
		c.setLocked(flagSealed | flagReleased)
	}
	c.mu.Unlock()
	switch {
	case !ok && s == nil:
		nc.Close() // a duplicate: the connection stays open
		fallthrough
	case !ok:
		return nil, ErrDetached
	case s != nil:
		c.engine.dropStream(c)
	default:
		c.engine.unwatch(c, false)
	}
	if l != nil {
		nc = &layeredConn{Conn: nc, layer: l, engine: c.engine}
	}
	return nc, nil
}

// layeredConn is a detached connection with its Layer.
type layeredConn struct {
	net.Conn
	layer  Layer
	engine *Engine // for its clock

	reading sync.Mutex // held by Read, also while it waits for the socket
	buf     []byte     // guarded by reading
	plain   []byte     // of buf, not read yet; guarded by reading
	err     error      // of the socket, or of layer.Open; guarded by reading

	writing sync.Mutex // held while the layer seals and the socket is written to
	wire    []byte     // guarded by writing
	ended   bool       // guarded by writing

	once sync.Once // Close
}

func (c *layeredConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.plain) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if c.buf == nil {
			c.buf = make([]byte, minLayerBuffer)
		}
		held, _ := c.layer.Held(c.buf)
		n, err := 0, error(nil)
		if !c.layer.Pending() {
			n, err = c.Conn.Read(c.buf[held:])
		}
		if n == 0 && err != nil {
			if err == io.EOF {
				c.err, err = io.ErrUnexpectedEOF, io.ErrUnexpectedEOF
			}
			return 0, err // a timeout is not the end
		}
		c.plain, c.err = c.layer.Open(c.buf[:held+n])
		if c.err != nil && c.err != io.EOF {
			c.end(c.err)
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

func (c *layeredConn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for n < len(p) {
		if c.ended {
			return n, net.ErrClosed
		}
		piece := p[n:min(len(p), n+MaxSeal)]
		c.wire = c.layer.Seal(c.wire[:0], piece)
		if _, err := c.Conn.Write(c.wire); err != nil {
			c.ended = true // a record may be cut
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// end tells the peer that nothing follows. If a Write waits for the peer, it does not.
func (c *layeredConn) end(why error) {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	if !c.ended {
		c.ended = true
		c.wire = c.layer.End(c.wire[:0], why)
		c.Conn.SetWriteDeadline(c.engine.deadline(farewellTimeout))
		c.Conn.Write(c.wire)
	}
}

// farewellTimeout is what crypto/tls permits the same alert.
const farewellTimeout = 5 * time.Second

// CloseWrite ends the stream and shuts down the sending side.
func (c *layeredConn) CloseWrite() error {
	c.end(nil)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close may be called during a Read or a Write, which it interrupts.
func (c *layeredConn) Close() (err error) {
	c.once.Do(func() {
		c.end(nil)
		err = c.Conn.Close()
		c.reading.Lock()
		c.writing.Lock()
		c.ended, c.err, c.plain = true, net.ErrClosed, nil
		c.layer.Release()
		c.writing.Unlock()
		c.reading.Unlock()
	})
	return err
}

// LayerOf returns the Layer of a connection that was detached; nil if it had none.
func LayerOf(nc net.Conn) Layer {
	if c, ok := nc.(*layeredConn); ok {
		return c.layer
	}
	return nil
}
