package netpoll

import (
	"io"

	"golang.org/x/sys/unix"
)

// layerTurn is the part of turn that reads, for a connection with a layer. What the layer
// keeps of an incomplete record goes in front of what is received, so that records are
// decrypted where they are.
func (e *Engine) layerTurn(c *Conn, l Layer, buf []byte, ready Readiness) bool {
	for {
		held, ok := l.Held(buf)
		if !ok {
			return true // Resume follows
		}
		room := buf[held:]
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
