package netpoll

import (
	"io"

	"golang.org/x/sys/unix"
)

// turn does what the connection is ready for. It reports false when the caller
// holds the turn no more: the connection is over, or comes again later.
func (e *Engine) turn(c *Conn, w *worker, ready Readiness) bool {
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
	if ready&Readable == 0 {
		return true
	}
	buf := *w.buf
	for range maxReads {
		n, errno := recv(int(c.fd), buf)
		switch {
		case errno == unix.EAGAIN:
			return true
		case errno != 0:
			c.release(errno)
			return false
		case n == 0:
			if !c.peerEnded() {
				return true // flush, or who bounds it, brings the end
			}
			c.release(io.EOF)
			return false
		}
		c.handler.Data(c, buf[:n])
		if flags := c.flags.Load(); flags&(flagCorked|flagClosing|flagReleased) != 0 {
			if flags&flagReleased != 0 {
				return false // detached
			}
			c.Uncork()
			if c.has(flagClosing) {
				c.release(nil)
				return false
			}
		}
		// Less than there was room for: nothing is left, and new bytes are a
		// new edge (epoll(7), question 9), unless the end of the stream is
		// here already.
		if n < len(buf) && ready&Hangup == 0 {
			return true
		}
	}
	e.yield(c, ready)
	return false
}

// peerEnded says whether to release the connection at the end of the peer's stream.
func (c *Conn) peerEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerEndedLocked()
}
