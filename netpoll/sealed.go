package netpoll

import "sync"

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

// farewellLocked tells the peer that the connection ends, if it has not been told and
// nothing is on its way that this would cut.
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
