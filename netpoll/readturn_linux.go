package netpoll

import (
	"io"

	"golang.org/x/sys/unix"
)

// turn does what the connection is ready for. It returns false when the caller no longer
// holds the turn: the connection is closed, or has yielded.
func (e *Engine) turn(c *Conn, w *worker, ready Readiness) bool {
	if c.has(flagFreeze) && e.park(c, ready) {
		return false
	}
	if c.has(flagQueued) && ready&Writable != 0 {
		c.flush()
	}
	if c.has(flagClosing) {
		c.release(nil)
		return false
	}
	if c.has(flagListener) {
		return e.acceptTurn(c)
	}
	c.markReading()
	if c.has(flagLeftover) && !e.deliver(c, e.leftovers.look(c), ready) {
		return false
	}
	if ready&Readable == 0 {
		return true
	}
	if l := c.layer(); l != nil {
		return e.layerTurn(c, l, *w.buf, ready)
	}
	buf := *w.buf
	if e.leftovers.full() {
		buf = buf[:min(smallRead, len(buf))]
	}
	for {
		n, errno := recv(int(c.fd), buf)
		switch {
		case errno == unix.EAGAIN:
			return true
		case errno != 0:
			c.release(errno)
			return false
		case n == 0:
			if !c.peerEnded() {
				return true // the connection ends when the sealed bytes are sent
			}
			c.release(io.EOF)
			return false
		}
		c.traffic().received.Add(int64(n))
		if !e.deliver(c, buf[:n], ready) {
			return false
		}
		if n == len(buf) {
			e.yield(c, ready)
			return false
		}
		// A short read means that nothing is left, and new bytes are a new event
		// (epoll(7), question 9), unless the stream has ended or urgent data has
		// ended the read.
		if ready&(Hangup|Urgent) == 0 {
			return true
		}
	}
}

// deliver passes b to the handler and carries out what the handler asked for. Like turn
// it reports whether the caller still holds the turn: if the handler does not consume all
// of b, the connection yields.
func (e *Engine) deliver(c *Conn, b []byte, ready Readiness) bool {
	for {
		b = b[c.data(b):]
		flags := c.flags.Load()
		if flags&(flagCorked|flagClosing|flagReleased|flagLeftover) == 0 && len(b) == 0 {
			return true
		}
		if flags&flagReleased != 0 { // detached
			e.dropLeftover(c)
			return false
		}
		c.Uncork()
		if c.has(flagClosing) {
			c.release(nil)
			return false
		}
		if len(b) == 0 {
			e.dropLeftover(c)
			return true
		}
		if e.keepLeftover(c, b) {
			e.yield(c, ready)
			return false
		}
	}
}

// peerEnded reports whether the end of the peer's stream ends the connection.
func (c *Conn) peerEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerEndedLocked()
}

// layerTurn is the part of turn that reads, for a connection with a layer. What the layer
// keeps of an incomplete record goes in front of what is received, so that records are
// decrypted where they are.
func (e *Engine) layerTurn(c *Conn, l Layer, buf []byte, ready Readiness) bool {
	for {
		held, most := l.Held(buf)
		if most == 0 {
			return true // Resume follows
		}
		room := buf[held : held+most]
		if e.leftovers.full() {
			room = room[:min(smallRead, len(room))]
		}
		n, errno := recv(int(c.fd), room)
		switch {
		case errno == unix.EAGAIN:
			if !l.Pending() {
				return true
			}
			n = 0
		case errno != 0:
			c.release(errno)
			return false
		}
		ended := errno == 0 && n == 0
		plain, err := l.Open(buf[:held+n])
		c.traffic().received.Add(int64(len(plain)))
		if len(plain) > 0 && !e.deliver(c, plain, ready) {
			return false
		}
		if ended && err == nil {
			err = io.ErrUnexpectedEOF // the peer has not ended the stream of the layer
		}
		switch {
		case err == nil:
		case (ended || err == io.EOF) && !c.peerEnded():
			return true // the connection ends when the sealed bytes are sent
		default:
			c.release(err)
			return false
		}
		if errno == unix.EAGAIN {
			return true
		}
		if n == len(room) {
			e.yield(c, ready)
			return false
		}
		if ready&(Hangup|Urgent) == 0 {
			return true // as in turn
		}
	}
}
