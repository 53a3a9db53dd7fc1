package netpoll

// Outcome is the result of a write.
type Outcome uint8

const (
	// Written means that the kernel has accepted all bytes.
	Written Outcome = iota
	// Queued means that the rest goes out when the peer has read what came before.
	Queued
	// Displaced is Queued where older messages were dropped to make room.
	Displaced
	// Dropped means that the queue was full and no older message could make room.
	Dropped
	// Full means that the queue was full and the policy CloseOnFull or Control; the
	// caller is expected to end the connection with Seal.
	Full
	// Gone means that the connection is closed or sealed.
	Gone
)

// Delivered reports whether the bytes were written or queued.
func (o Outcome) Delivered() bool { return o <= Displaced }

// Write sends b, or queues what the kernel does not accept now. b is shared: it may be
// queued by reference and must never be modified.
//
// A connection without a descriptor (TLS, or a wrapped net.Conn) cannot be written to
// without waiting: Write queues all of b and returns Queued, never Written, and a
// goroutine passes it on. See Conn.Queued for what that means to a sender.
func (c *Conn) Write(b []byte, p Policy) Outcome { return c.write(b, p, false, Key{}) }

// WriteBorrowed is Write for bytes that the caller reuses: it copies what it queues.
func (c *Conn) WriteBorrowed(b []byte, p Policy) Outcome { return c.write(b, p, true, Key{}) }

func (c *Conn) write(b []byte, p Policy, borrowed bool, key Key) Outcome {
	c.mu.Lock()
	outcome, over := c.writeLocked(b, p, borrowed, key)
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
	return outcome
}

// writeLocked tells, like all functions that may find the connection broken, whether
// the caller must interrupt the holder of the turn after it unlocked mu.
func (c *Conn) writeLocked(b []byte, p Policy, borrowed bool, key Key) (outcome Outcome, over bool) {
	if c.engine == nil || c.hasLocked(flagSealed|flagExported) {
		return Gone, false
	}
	if c.hasLocked(flagImported) {
		return c.enqueueLocked(b, p, borrowed, key), false
	}
	if c.hasLocked(flagCorked) && c.out.size+len(b) > corkLimit {
		if c.flushLocked() {
			return Gone, true
		}
	}
	if c.out != nil && (!c.out.empty() || len(b) < corkLimit) {
		return c.enqueueLocked(b, p, borrowed, key), false
	}
	if l := c.layer(); l != nil {
		return c.writeSealedLocked(l, b, p, borrowed)
	}
	c.markWritingLocked()
	n, err := c.sendLocked(b)
	if n == len(b) {
		if c.out == nil {
			c.markWrittenLocked()
		}
		return Written, false
	}
	if err != nil {
		c.brokenLocked()
		return Gone, true
	}
	if c.out == nil {
		c.newQueueLocked()
	}
	c.out.push(b, p, borrowed)
	if n == 0 && key != (Key{}) {
		c.out.note(key)
	}
	c.out.sent(n)
	// Try again, now that flagQueued is set: if the peer has made room since the
	// first attempt, the event that said so may have reached a worker that saw nothing
	// to flush.
	if c.flushLocked() {
		return Gone, true
	}
	if c.out == nil || c.out.empty() {
		return Written, false
	}
	return Queued, false
}

func (c *Conn) enqueueLocked(b []byte, p Policy, borrowed bool, key Key) Outcome {
	i, replaces := c.out.find(key)
	var ok bool
	var dropped int
	if replaces {
		ok, dropped = c.out.replace(key, i, b, c.engine.queueBytes, p)
	} else {
		ok, dropped = c.out.makeRoom(len(b), c.engine.queueBytes, p)
	}
	if dropped > 0 {
		c.engine.stats.dropped.Add(int64(dropped))
	}
	switch {
	case ok && replaces:
		c.engine.stats.conflated.Add(1)
		return Queued
	case ok:
		c.out.push(b, p, borrowed)
		if key != (Key{}) {
			c.out.note(key)
		}
		if dropped > 0 {
			return Displaced
		}
		return Queued
	case p == DropOldest:
		c.engine.stats.dropped.Add(1)
		return Dropped
	}
	return Full
}

// sendLocked writes what the socket accepts at once. A full socket is not an error.
func (c *Conn) sendLocked(b []byte) (n int, err error) {
	if s := c.stream(); s != nil {
		n, err = s.send(b)
	} else {
		n, err = send(int(c.fd), b)
	}
	c.traffic().sent.Add(int64(n))
	return n, err
}

// brokenLocked closes a connection after a failed write.
func (c *Conn) brokenLocked() {
	c.engine.stats.broken.Add(1)
	c.setLocked(flagBroken)
	c.closeLocked()
}

// flush writes the queue until it is empty or the socket is full.
func (c *Conn) flush() {
	c.mu.Lock()
	over := c.flushLocked()
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
}

func (c *Conn) flushLocked() (over bool) {
	if c.hasLocked(flagClosing | flagReleased | flagExported | flagImported) {
		return false
	}
	if c.via != nil {
		if c.via.layer != nil {
			return c.flushSealedLocked(c.via.layer)
		}
		if c.via.stream.draining {
			return false
		}
	}
	for c.out != nil && !c.out.empty() {
		n, err := c.sendFrontLocked()
		if err != nil {
			c.brokenLocked()
			return true
		}
		if n == 0 {
			if s := c.stream(); s != nil {
				s.drainLocked(c)
			}
			return false // an event follows when there is room
		}
		c.out.sent(n)
	}
	return c.flushedLocked()
}

func (c *Conn) sendFrontLocked() (n int, err error) {
	if s := c.stream(); s != nil {
		n, err = s.send(c.out.first())
	} else {
		n, err = c.sendQueueLocked()
	}
	c.traffic().sent.Add(int64(n))
	return n, err
}

// flushedLocked frees a queue that ran empty, and carries out an ending that waited for
// it.
func (c *Conn) flushedLocked() (over bool) {
	if c.out != nil && !c.hasLocked(flagCorked) {
		c.freeQueueLocked()
	}
	if c.hasLocked(flagCloseFlushed) {
		c.closeLocked()
		return true
	}
	if c.hasLocked(flagHalfClose) && !c.hasLocked(flagHalfClosed) {
		c.setLocked(flagHalfClosed)
		if s := c.stream(); s != nil {
			s.closeWrite(c)
		} else {
			shutdownWrite(int(c.fd))
		}
	}
	return false
}

func (c *Conn) newQueueLocked() {
	c.out = queues.Get().(*queue)
	c.out.total = &c.traffic().queued
	c.setLocked(flagQueued)
	c.markWritingLocked()
}

// dropQueueLocked drops what can no longer be sent.
func (c *Conn) dropQueueLocked() {
	if n := c.out.messages(); n > 0 {
		c.engine.stats.abandoned.Add(int64(n))
	}
	if len(c.out.wire) > 0 {
		c.setLocked(flagCut)
	}
	c.freeQueueLocked()
}

func (c *Conn) freeQueueLocked() {
	c.out.free()
	c.out = nil
	c.clearLocked(flagQueued | flagCorked)
	c.markWrittenLocked()
}

// DropMessages drops the queued messages that have not begun to go out, except those
// with the policy Control.
func (c *Conn) DropMessages() {
	c.mu.Lock()
	if c.out != nil {
		c.engine.stats.abandoned.Add(int64(c.out.discardMessages()))
	}
	c.mu.Unlock()
}

// corkLimit is how many bytes a corked connection gathers before it writes anyway.
const corkLimit = 16 << 10

// Cork gathers the following writes, so that the answers to many messages that
// arrived in one read leave in one write. The caller must call Uncork soon; in a call
// of the Handler the engine does so at the end of the turn.
func (c *Conn) Cork() {
	if c.has(flagCorked) {
		return
	}
	c.mu.Lock()
	if c.engine != nil && !c.hasLocked(flagSealed|flagCorked) {
		if c.out == nil {
			c.newQueueLocked()
		}
		c.setLocked(flagCorked)
	}
	c.mu.Unlock()
}

// Uncork sends what was gathered.
func (c *Conn) Uncork() {
	if !c.has(flagCorked) {
		return
	}
	c.mu.Lock()
	var over bool
	if c.hasLocked(flagCorked) {
		c.clearLocked(flagCorked)
		over = c.flushLocked()
	}
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
}

// Ending says what follows the last byte of a sealed connection.
type Ending uint8

const (
	// KeepOpen leaves it to the peer to end the connection. Reading goes on.
	KeepOpen Ending = iota
	// HalfClose shuts down the sending side. Reading goes on, so that the peer
	// can read what was sent: a close with unread bytes would reset the connection.
	HalfClose
	// CloseFlushed closes the connection when the queue is empty.
	CloseFlushed
)

// Seal sends last and then nothing more: every later Write returns Gone. If the peer
// ends the stream before all is sent, the ending becomes CloseFlushed. With discard,
// Seal first drops the queued messages that have not begun to go out. If the connection
// was sealed before, Seal sends nothing, raises the ending, and returns false. last is
// shared, as in Write.
func (c *Conn) Seal(last []byte, discard bool, then Ending) bool {
	c.mu.Lock()
	first, over := c.sealLocked(last, discard, then)
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
	return first
}

func (c *Conn) sealLocked(last []byte, discard bool, then Ending) (first, over bool) {
	if c.engine == nil {
		c.closeLocked() // takes effect when it is opened
		return false, false
	}
	first = !c.hasLocked(flagSealed | flagExported)
	if first {
		if c.out == nil {
			c.newQueueLocked()
		}
		if discard {
			c.engine.stats.abandoned.Add(int64(c.out.discard()))
		}
		c.out.push(last, Control, false)
		c.setLocked(flagSealed)
	}
	switch then {
	case HalfClose:
		c.setLocked(flagHalfClose)
	case CloseFlushed:
		c.setLocked(flagCloseFlushed)
	}
	c.clearLocked(flagCorked)
	return first, c.flushLocked()
}

// peerEndedLocked reports whether the end of the peer's stream ends the connection. It
// does not while sealed bytes are unsent: the peer may have shut down only its sending
// side and still read. Only the holder of the turn may call it.
func (c *Conn) peerEndedLocked() bool {
	if !c.hasLocked(flagSealed) || c.hasLocked(flagClosing) || c.out == nil || c.out.empty() {
		return true
	}
	// The peer cannot send anything more: when the queue is empty, all is done.
	c.setLocked(flagPeerEnded | flagCloseFlushed)
	return false
}
