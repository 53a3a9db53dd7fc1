package netpoll

import "net"

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
