package netpoll

// Ending says what follows the last byte of a sealed connection.
type Ending uint8

const (
	// KeepOpen leaves it to the peer to end the connection. Reading goes on.
	KeepOpen Ending = iota
	// HalfClose shuts down the sending side. Reading goes on, so that the peer
	// can read what was sent: a close with unread bytes would reset the connection.
	HalfClose
	// CloseFlushed closes the connection.
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
