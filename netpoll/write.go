package netpoll

// Outcome of a write.
type Outcome uint8

const (
	// Written: the kernel has all of it.
	Written Outcome = iota
	// Queued: the rest goes out when the peer has read what came before.
	Queued
	// Dropped: the queue was full and nothing older could make room.
	Dropped
	// Full: the queue was full and the policy was CloseOnFull or Control; the
	// caller is expected to end the connection with Seal.
	Full
	// Gone: the connection is closed or sealed.
	Gone
)

// Delivered tells whether the bytes are on their way.
func (o Outcome) Delivered() bool { return o <= Queued }

// corkLimit is what a corked connection gathers before it writes after all.
const corkLimit = 16 << 10

// Write sends b, or queues what the kernel does not take now. b is shared: it
// may be queued by reference and must never be modified.
func (c *Conn) Write(b []byte, p Policy) Outcome { return c.write(b, p, false) }

// WriteBorrowed is Write for bytes that the caller will reuse: what has to be
// queued is copied.
func (c *Conn) WriteBorrowed(b []byte, p Policy) Outcome { return c.write(b, p, true) }

func (c *Conn) write(b []byte, p Policy, borrowed bool) Outcome {
	c.mu.Lock()
	outcome, over := c.writeLocked(b, p, borrowed)
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
	return outcome
}

// writeLocked reports, like all that can find the connection to be over, whether
// the caller must interrupt the holder of the turn when it has unlocked mu.
func (c *Conn) writeLocked(b []byte, p Policy, borrowed bool) (outcome Outcome, over bool) {
	if c.engine == nil || c.hasLocked(flagSealed) {
		return Gone, false
	}
	if c.hasLocked(flagCorked) && c.out.size+len(b) > corkLimit {
		if c.flushLocked() {
			return Gone, true
		}
	}
	if c.out != nil && (!c.out.empty() || len(b) < corkLimit) {
		return c.enqueueLocked(b, p, borrowed), false
	}
	n, err := c.sendLocked(b)
	if n == len(b) {
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
	c.out.sent(n)
	// Once more, now that flagQueued is to be seen: if the peer has made room
	// since we were told that there is none, the edge that says so may have come
	// to a worker that saw nothing to flush.
	if c.flushLocked() {
		return Gone, true
	}
	if c.out == nil || c.out.empty() {
		return Written, false
	}
	return Queued, false
}

func (c *Conn) enqueueLocked(b []byte, p Policy, borrowed bool) Outcome {
	ok, dropped := c.out.admit(len(b), c.engine.queueBytes, p)
	if dropped > 0 {
		c.engine.stats.dropped.Add(int64(dropped))
	}
	switch {
	case ok:
		c.out.push(b, p, borrowed)
		return Queued
	case p == DropOldest:
		c.engine.stats.dropped.Add(1)
		return Dropped
	}
	return Full
}

// sendLocked writes what goes at once. A full socket is no error.
func (c *Conn) sendLocked(b []byte) (n int, err error) {
	if c.link != nil {
		return c.link.send(b)
	}
	return send(int(c.fd), b)
}

// brokenLocked: a write failed, so the peer is gone.
func (c *Conn) brokenLocked() {
	c.engine.stats.broken.Add(1)
	c.setLocked(flagBroken)
	c.closeLocked()
}

// flush goes on writing the queue.
func (c *Conn) flush() {
	c.mu.Lock()
	over := c.flushLocked()
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
}

func (c *Conn) flushLocked() (over bool) {
	if c.hasLocked(flagClosing|flagReleased) || c.link != nil && c.link.draining {
		return false
	}
	for c.out != nil && !c.out.empty() {
		n, err := c.sendFrontLocked()
		if err != nil {
			c.brokenLocked()
			return true
		}
		if n == 0 {
			if c.link != nil {
				c.link.drainLocked(c)
			}
			return false // the poller tells when there is room
		}
		c.out.sent(n)
	}
	return c.flushedLocked()
}

func (c *Conn) sendFrontLocked() (n int, err error) {
	if c.link != nil {
		return c.link.send(c.out.first())
	}
	return c.sendQueueLocked()
}

// flushedLocked is where a queue that ran empty goes back, and where an ending
// that waited for it goes on.
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
		if c.link != nil {
			c.link.closeWrite(c)
		} else {
			shutdownWrite(int(c.fd))
		}
	}
	return false
}

// peerEndedLocked says whether the end of the peer's stream is that of the
// connection. It is not while sealed bytes wait: a peer that shut down its sending
// side only, behind its own last words perhaps, is owed ours. Only the holder of
// the turn may call it.
func (c *Conn) peerEndedLocked() bool {
	if !c.hasLocked(flagSealed) || c.hasLocked(flagClosing) || c.out == nil || c.out.empty() {
		return true
	}
	// Nothing more can come, so nothing is left to wait for when they are sent.
	c.setLocked(flagPeerEnded | flagCloseFlushed)
	return false
}

func (c *Conn) newQueueLocked() {
	c.out = queues.Get().(*queue)
	c.setLocked(flagQueued)
}

// dropQueueLocked throws away what can never be sent any more.
func (c *Conn) dropQueueLocked() {
	if n := c.out.messages(); n > 0 {
		c.engine.stats.abandoned.Add(int64(n))
	}
	c.freeQueueLocked()
}

func (c *Conn) freeQueueLocked() {
	c.out.free()
	c.out = nil
	c.clearLocked(flagQueued | flagCorked)
}

// Cork gathers the writes that follow, so that the answers to many messages
// that arrived in one read leave in one write. Whoever corks uncorks soon; the
// turn's end does it at the latest.
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

// DropMessages drops what is queued and not begun, but for Control.
func (c *Conn) DropMessages() {
	c.mu.Lock()
	if c.out != nil {
		c.engine.stats.abandoned.Add(int64(c.out.discardMessages()))
	}
	c.mu.Unlock()
}

// Ending is what follows the last byte of a sealed connection.
type Ending uint8

const (
	// KeepOpen: the peer is to end the connection; reading goes on.
	KeepOpen Ending = iota
	// HalfClose: the sending side is shut down, reading goes on. It lets the
	// peer read what was sent even if bytes of its own are unread here, which
	// a plain close would answer with a reset.
	HalfClose
	// CloseFlushed: the connection is closed.
	CloseFlushed
)

// Seal makes last the last bytes that are sent: behind them every Write is
// Gone. If the peer ends the stream before they are all sent, the ending becomes
// CloseFlushed. With discard the messages that are queued and not begun are dropped
// first. It reports false, and sends nothing, if the connection was sealed
// before; the ending is then only raised. last is shared, as in Write.
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
		c.closeLocked() // whoever opens it finds out
		return false, false
	}
	first = !c.hasLocked(flagSealed)
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
