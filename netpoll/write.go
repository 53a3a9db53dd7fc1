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
	if c.hasLocked(flagSealed) {
		c.mu.Unlock()
		return Gone
	}
	if c.out != nil {
		outcome := c.enqueueLocked(b, p, borrowed)
		if outcome == Queued && c.hasLocked(flagCorked) && c.out.size >= corkLimit {
			c.flushLocked()
		}
		c.mu.Unlock()
		return outcome
	}
	n, err := c.sendLocked(b)
	if n == len(b) {
		c.mu.Unlock()
		return Written
	}
	if err != nil {
		c.brokenLocked()
		c.mu.Unlock()
		c.interrupt()
		return Gone
	}
	if n == 0 && len(b) > c.engine.queueBytes {
		c.mu.Unlock()
		if p == DropOldest {
			c.engine.stats.dropped.Add(1)
			return Dropped
		}
		return Full
	}
	// A message that is begun must be finished, however long its rest is.
	c.newQueueLocked()
	c.out.push(b, p, borrowed)
	c.out.sent(n)
	if c.link != nil {
		c.link.drainLocked(c)
	}
	c.mu.Unlock()
	return Queued
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
	c.closeLocked()
}

// flush goes on writing the queue.
func (c *Conn) flush() {
	c.mu.Lock()
	c.flushLocked()
	c.mu.Unlock()
}

func (c *Conn) flushLocked() {
	if c.hasLocked(flagClosing | flagReleased) {
		return
	}
	if c.link != nil && c.out != nil && !c.out.empty() {
		c.link.drainLocked(c)
		return
	}
	for c.out != nil && !c.out.empty() {
		n, err := c.sendQueueLocked()
		if err != nil {
			c.brokenLocked()
			c.interrupt()
			return
		}
		if n == 0 {
			return // the poller tells when there is room
		}
		c.out.sent(n)
	}
	c.flushedLocked()
}

// flushedLocked is where a queue that ran empty goes back, and where an ending
// that waited for it goes on.
func (c *Conn) flushedLocked() {
	if c.out != nil && !c.hasLocked(flagCorked) {
		c.freeQueueLocked()
	}
	if c.hasLocked(flagCloseFlushed) && !c.hasLocked(flagClosing) {
		c.closeLocked()
		c.interrupt()
		return
	}
	if c.hasLocked(flagHalfClose) && !c.hasLocked(flagHalfClosed) {
		c.setLocked(flagHalfClosed)
		if c.link != nil {
			c.link.closeWrite()
		} else {
			shutdownWrite(int(c.fd))
		}
	}
}

func (c *Conn) newQueueLocked() {
	c.out = queues.Get().(*queue)
	c.setLocked(flagQueued)
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
	if !c.hasLocked(flagSealed | flagCorked) {
		if c.out == nil {
			c.newQueueLocked()
		}
		c.setLocked(flagCorked)
	}
	c.mu.Unlock()
}

// Uncork sends what was gathered.
func (c *Conn) Uncork() {
	c.mu.Lock()
	if c.hasLocked(flagCorked) {
		c.clearLocked(flagCorked)
		c.flushLocked()
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
// Gone. With discard the messages that are queued and not begun are dropped
// first. It reports false, and sends nothing, if the connection was sealed
// before; the ending is then only raised. last is shared, as in Write.
func (c *Conn) Seal(last []byte, discard bool, then Ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.hasLocked(flagSealed)
	if first {
		if c.out == nil {
			c.newQueueLocked()
		}
		if discard {
			c.engine.stats.dropped.Add(int64(c.out.discard()))
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
	c.flushLocked()
	return first
}
