package netpoll

import (
	"io"
	"net"
	"sync"
	"time"
)

// layeredConn is a detached connection with its Layer.
type layeredConn struct {
	net.Conn
	layer Layer

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
		c.Conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
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
