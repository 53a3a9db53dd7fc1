package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Layer stands between the socket and the Handler of a connection: the Handler sees what
// Open returns, and what is written goes through Seal. An idle connection has nothing but
// the Layer itself; the buffers are those of the workers.
//
// Held, Pending, Open and Release are called by the holder of the read turn. Seal and End
// are called with the lock of the Conn held, and call none of its methods. So calls of the
// first group never overlap, nor do those of the second, but one of each may.
type Layer interface {
	// Held copies to the front of b the bytes that Open has kept, at most MaxHeld, and
	// returns how many these are, and how many more may be received after them, at most
	// what is left of b. If that is 0, nothing is received until Conn.Resume is called.
	Held(b []byte) (n, room int)
	// Pending reports whether Open has something to return even if nothing new arrives.
	Pending() bool
	// Open takes the bytes that Held has copied and what was received after them. It
	// returns what they mean, in the memory of b, and keeps what is incomplete. The
	// error is io.EOF if the peer has ended the stream. Any error ends the connection,
	// after what is returned with it is delivered; Open then returns it again, and
	// Pending true.
	Open(b []byte) (plain []byte, err error)
	// Seal appends to dst what is sent for b, which has at most MaxSeal bytes.
	Seal(dst, b []byte) []byte
	// End appends to dst what tells the peer that nothing follows: why is nil, or the
	// error of Open, or of the socket. Seal is not called afterwards, and End not again.
	End(dst []byte, why error) []byte
	// Release is the last call. It comes before Handler.Close.
	Release()
}

const (
	// MaxHeld is the longest record of TLS 1.2, RFC 5246 section 6.2.3, with its header.
	// That of TLS 1.3 is shorter.
	MaxHeld = 5 + 1<<14 + 2048
	// MaxSeal is the longest plaintext of a record.
	MaxSeal = 1 << 14

	minLayerBuffer = 2 * MaxHeld
)

// via is what few connections have.
type via struct {
	stream *stream // serves the connection with a goroutine; the poller does not watch it
	layer  Layer
}

func (c *Conn) stream() *stream {
	if c.via == nil {
		return nil
	}
	return c.via.stream
}

func (c *Conn) layer() Layer {
	if c.via == nil {
		return nil
	}
	return c.via.layer
}

// Layer returns the Layer that Secure was given; nil if none.
func (c *Conn) Layer() Layer { return c.layer() }

// Secure puts a Layer between the socket and the Handler. Handler.Open calls it before
// anything is written. It fails for a connection without a descriptor: see Engine.Watches.
func (c *Conn) Secure(l Layer) error {
	switch {
	case c.stream() != nil:
		return fmt.Errorf("netpoll: a layer needs a connection with a descriptor: %w", errors.ErrUnsupported)
	case c.engine.readBuffer < minLayerBuffer:
		return fmt.Errorf("netpoll: Config.ReadBuffer is %d: a layer needs at least %d", c.engine.readBuffer, minLayerBuffer)
	}
	c.mu.Lock()
	c.via = &via{layer: l}
	c.mu.Unlock()
	return nil
}

// NetConn returns the net.Conn that a goroutine serves; nil if the connection has a
// descriptor.
func (c *Conn) NetConn() net.Conn {
	if s := c.stream(); s != nil {
		return s.nc
	}
	return nil
}

// Resume gives the connection a turn in which it is read again, and Layer.Open is called if
// it is Pending. Any goroutine may call it.
func (c *Conn) Resume() { c.wake(Readable) }

// WriteRaw is WriteBorrowed for bytes that bypass the Layer, such as those of a handshake.
// No message may be in the outbound queue.
func (c *Conn) WriteRaw(b []byte) Outcome {
	c.mu.Lock()
	outcome, over := c.writeRawLocked(b)
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
	return outcome
}

func (c *Conn) writeRawLocked(b []byte) (outcome Outcome, over bool) {
	if c.engine == nil || c.hasLocked(flagSealed) {
		return Gone, false
	}
	if c.out == nil {
		c.newQueueLocked()
	}
	if c.out.unsent()+len(b) > c.engine.queueBytes && !c.out.empty() {
		return Full, false
	}
	c.out.addWire(b)
	if c.flushLocked() {
		return Gone, true
	}
	if c.out == nil || c.out.empty() {
		return Written, false
	}
	return Queued, false
}

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
