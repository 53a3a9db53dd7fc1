package proxyproto

import (
	"io"
	"net"
)

// Conn is a connection that begins with a header, which the first Read reads. Read is
// called by one goroutine at a time.
type Conn struct {
	net.Conn
	failed func(error) // called once, if the header is missing or malformed

	// Owned by the goroutine that reads.
	header Header
	ready  bool
	err    error
	buf    []byte // of the header, and what was received after it
}

// NewConn returns a Conn. failed is called if the header is missing or malformed.
func NewConn(nc net.Conn, failed func(error)) *Conn { return &Conn{Conn: nc, failed: failed} }

// Header returns the header, once Read has returned bytes.
func (c *Conn) Header() Header { return c.header }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for !c.ready {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.readHeader(); err != nil {
			return 0, err
		}
	}
	if len(c.buf) > 0 {
		n := copy(p, c.buf)
		if c.buf = c.buf[n:]; len(c.buf) == 0 {
			c.buf = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// readHeader reads once.
func (c *Conn) readHeader() error {
	var chunk [512]byte
	n, err := c.Conn.Read(chunk[:])
	c.buf = append(c.buf, chunk[:n]...)
	if n == 0 {
		if err == io.EOF && len(c.buf) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	header, size, err := Parse(c.buf)
	if err != nil {
		c.err, c.buf = err, nil
		c.failed(err)
		return err
	}
	c.header, c.ready, c.buf = header, size > 0, c.buf[size:]
	return nil
}

// CloseWrite shuts down the sending side, if the connection can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
