package netpoll

import (
	"errors"
	"fmt"
	"net"
	"sync"
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
	// returns the plaintext, in the memory of b, and keeps an incomplete rest. The
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

// Via is what few connections have: it joins one to its goroutine or its Layer. A Layer has
// one for Conn.Secure, so that a connection with a Layer is one allocation less.
type Via struct {
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
// anything is written. v is memory that the connection uses from then on. It fails for a connection without a descriptor: see Engine.Watches.
func (c *Conn) Secure(l Layer, v *Via) error {
	switch {
	case c.stream() != nil:
		return fmt.Errorf("netpoll: a layer needs a connection with a descriptor: %w", errors.ErrUnsupported)
	case c.engine.readBuffer < minLayerBuffer:
		return fmt.Errorf("netpoll: Config.ReadBuffer is %d: a layer needs at least %d", c.engine.readBuffer, minLayerBuffer)
	}
	c.mu.Lock()
	v.layer = l
	c.via = v
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
	if c.engine == nil || c.hasLocked(flagSealed|flagExported) {
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

// Connections with a Layer: the queue holds messages, and sealed bytes exist only on their
// way to the socket, at most one record of them. So a policy can drop messages, and small
// ones share a record.

// wireBuffers hold sealed bytes on their way to the socket: one record, and a KeyUpdate or
// an alert with it.
var wireBuffers = sync.Pool{New: func() any { b := make([]byte, 0, MaxSeal+1<<10); return &b }}

const wireKeep = 64 << 10

func putWireBuffer(b *[]byte) {
	if cap(*b) <= wireKeep {
		*b = (*b)[:0]
		wireBuffers.Put(b)
	}
}

func (q *queue) addWire(b []byte) {
	q.useWireBuffer()
	q.setWire(append(q.wire, b...))
}

// useWireBuffer gives wire a buffer.
func (q *queue) useWireBuffer() {
	if q.wireBuf == nil {
		q.wireBuf = wireBuffers.Get().(*[]byte)
		q.wire = *q.wireBuf
	}
}

// setWire replaces wire.
func (q *queue) setWire(b []byte) {
	q.count(len(b) - len(q.wire))
	q.wire = b
}

func (q *queue) freeWire() {
	if q.wireBuf != nil {
		putWireBuffer(q.wireBuf)
	}
	q.setWire(nil)
	q.wireBuf, q.wireMessages = nil, 0
}

// writeSealedLocked is writeLocked for a connection with a layer and an empty queue: it
// seals and sends one record after another, and queues what the socket does not accept.
func (c *Conn) writeSealedLocked(l Layer, b []byte, p Policy, borrowed bool) (outcome Outcome, over bool) {
	buf := wireBuffers.Get().(*[]byte)
	for sealed := 0; sealed < len(b); {
		piece := b[sealed:min(len(b), sealed+MaxSeal)]
		*buf = c.sealPieceLocked(l, (*buf)[:0], piece)
		sealed += len(piece)
		n, err := send(int(c.fd), *buf)
		if err != nil {
			putWireBuffer(buf)
			c.brokenLocked()
			return Gone, true
		}
		if n == len(*buf) {
			continue
		}
		if c.out == nil {
			c.newQueueLocked()
		}
		q := c.out
		q.setWire((*buf)[n:])
		q.wireBuf = buf
		if sealed < len(b) {
			q.push(b, p, borrowed)
			q.sent(sealed)
		} else {
			q.wireMessages = 1
		}
		// Try again, as in writeLocked.
		if c.flushLocked() {
			return Gone, true
		}
		if c.out == nil || c.out.empty() {
			return Written, false
		}
		return Queued, false
	}
	putWireBuffer(buf)
	return Written, false
}

// flushSealedLocked is flushLocked for a connection with a layer.
func (c *Conn) flushSealedLocked(l Layer) (over bool) {
	if c.out == nil && c.endDueLocked() {
		c.newQueueLocked()
	}
	for q := c.out; q != nil; {
		if len(q.wire) == 0 {
			c.sealQueueLocked(l)
		}
		if len(q.wire) == 0 {
			break
		}
		n, err := send(int(c.fd), q.wire)
		if err != nil {
			c.brokenLocked()
			return true
		}
		if full := n < len(q.wire); full {
			q.setWire(q.wire[n:])
			return false // an event follows when there is room
		}
		q.freeWire()
	}
	return c.flushedLocked()
}

// endDueLocked reports whether the layer must end the stream when the queue is empty.
func (c *Conn) endDueLocked() bool {
	return c.hasLocked(flagCloseFlushed|flagHalfClose) && !c.hasLocked(flagEndSealed)
}

// sealQueueLocked seals the front of the queue, as much as fits one record, so that small
// messages share one, and after the last message the end of the stream.
func (c *Conn) sealQueueLocked(l Layer) {
	q := c.out
	q.useWireBuffer()
	switch piece := q.firstPiece(); {
	case len(piece) == MaxSeal || len(piece) == q.size && q.size > 0:
		q.setWire(c.sealPieceLocked(l, q.wire, piece))
		q.wireMessages = q.sent(len(piece))
	case q.size > 0:
		buf := wireBuffers.Get().(*[]byte)
		*buf = q.gather((*buf)[:0], MaxSeal)
		q.setWire(c.sealPieceLocked(l, q.wire, *buf))
		q.wireMessages = q.sent(len(*buf))
		putWireBuffer(buf)
	}
	if q.size == 0 && c.endDueLocked() {
		q.setWire(l.End(q.wire, nil))
		c.setLocked(flagEndSealed)
	}
	if *q.wireBuf = q.wire[:0]; len(q.wire) == 0 {
		q.freeWire()
	}
}

// firstPiece returns the unsent bytes of the head entry, at most MaxSeal.
func (q *queue) firstPiece() []byte {
	if q.head == len(q.entries) {
		return nil
	}
	b := q.first()
	return b[:min(len(b), MaxSeal)]
}

// gather appends the front of the queue to dst, up to max bytes.
func (q *queue) gather(dst []byte, max int) []byte {
	off := q.off
	for i := q.head; i < len(q.entries) && max > 0; i++ {
		b := q.entries[i].b[off:]
		b = b[:min(len(b), max)]
		dst = append(dst, b...)
		max -= len(b)
		off = 0
	}
	return dst
}

// farewellLocked sends the layer's end of stream, unless it was sent before or would follow
// a message that is cut.
func (c *Conn) farewellLocked(l Layer, why error) {
	if c.hasLocked(flagEndSealed|flagCut|flagBroken) || c.out != nil && len(c.out.wire) > 0 {
		return
	}
	buf := wireBuffers.Get().(*[]byte)
	*buf = l.End((*buf)[:0], why)
	c.setLocked(flagEndSealed)
	send(int(c.fd), *buf)
	putWireBuffer(buf)
}

// sealPieceLocked appends to dst what is sent for b.
func (c *Conn) sealPieceLocked(l Layer, dst, b []byte) []byte {
	c.traffic().sent.Add(int64(len(b)))
	return l.Seal(dst, b)
}
