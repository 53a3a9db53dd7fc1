package netpoll

import (
	"errors"
	"fmt"
	"net"
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
	// returns how many these are. It reports false if nothing more is to be read until
	// Conn.Resume is called.
	Held(b []byte) (n int, ok bool)
	// Pending tells whether Open has something to return even if nothing new arrives.
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
