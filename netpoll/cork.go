package netpoll

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
