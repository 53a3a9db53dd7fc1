package netpoll

import (
	"net"
	"time"
)

// A connection can move to another process, with its descriptor and its [State]. The
// engine that gives it up freezes it first: Freeze acquires its read turn, so that its
// Handler is not called and nothing is received. From there
//
//	        Freeze           Export            Abandon
//	serving -------> frozen ---------> exported -------> gone
//	   ^               |                  |
//	   |     Thaw      |       Thaw       |
//	   +---------------+------------------+
//
// A frozen connection can be written to; an exported one cannot, because what is written
// then would be missing from its State. The engine that receives the connection calls
// Import, and Start when the other one has given it up, or Discard if that keeps it.

// freezer collects the turns that workers give up.
type freezer struct{ parked chan *Conn }

// Freeze acquires the read turns of connections within d, and returns the connections whose
// turn it has. A connection whose Handler does not return, or that is about to close, is
// left out. Thaw, or Export and Abandon, must follow. Calls must not overlap.
func (e *Engine) Freeze(conns []*Conn, d time.Duration) (frozen []*Conn) {
	f := &freezer{parked: make(chan *Conn, len(conns))}
	e.freezer.Store(f)
	var waiting []*Conn
	for _, c := range conns {
		if c.stream() != nil || c.has(flagListener) {
			continue
		}
		if c.turn.acquire() {
			frozen = append(frozen, c)
			continue
		}
		if c.requestFreeze() {
			waiting = append(waiting, c)
		}
	}
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	left := len(waiting)
collect:
	for left > 0 {
		select {
		case c := <-f.parked:
			frozen = append(frozen, c)
			left--
		case <-timeout.C:
			break collect
		}
	}
	if left > 0 {
		for _, c := range waiting {
			if c.cancelFreeze() {
				left--
			}
		}
		for range left { // parked since, or about to be
			frozen = append(frozen, <-f.parked)
		}
	}
	return e.thawClosing(frozen)
}

// thawClosing returns the turns of connections that are to be closed.
func (e *Engine) thawClosing(frozen []*Conn) []*Conn {
	kept := frozen[:0]
	for _, c := range frozen {
		if c.has(flagClosing | flagReleased) {
			c.Thaw()
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// requestFreeze has the worker that gets the turn next park it. It returns false if the
// connection is closed, or is about to be.
func (c *Conn) requestFreeze() bool {
	c.mu.Lock()
	ok := !c.hasLocked(flagClosing | flagReleased)
	if ok {
		c.setLocked(flagFreeze)
	}
	c.mu.Unlock()
	if ok {
		c.wake(0)
	}
	return ok
}

// cancelFreeze takes the request back. It returns false if the turn is parked.
func (c *Conn) cancelFreeze() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := c.hasLocked(flagFreeze)
	c.clearLocked(flagFreeze)
	return ok
}

// park gives the turn to the goroutine that calls Freeze, if it still wants it. The caller
// holds the turn, and does not hold it any more if park returns true.
func (e *Engine) park(c *Conn, ready Readiness) bool {
	if !c.cancelFreeze() {
		return false
	}
	c.turn.move(moveReady, ready) // for Thaw
	e.freezer.Load().parked <- c  // has room
	return true
}

// Thaw returns the turn of a connection that Freeze has acquired, or takes back an Export.
func (c *Conn) Thaw() {
	c.mu.Lock()
	c.clearLocked(flagExported)
	c.mu.Unlock()
	// What came meanwhile is pending. Whether the socket has become writable is not known
	// of a queue that Export has found.
	c.turn.move(moveReady, Readable|Writable|Hangup)
	c.engine.finish(c)
}

// Abandon gives up a connection that another process has taken over: its descriptor is
// closed without a word to the peer, and the Handler is not called.
func (c *Conn) Abandon() {
	e := c.engine
	c.mu.Lock()
	c.setLocked(flagSealed | flagReleased)
	if c.out != nil {
		c.freeQueueLocked()
	}
	c.mu.Unlock()
	if l := c.layer(); l != nil {
		l.Release()
	}
	e.dropLeftover(c)
	e.poller.Remove(int(c.fd), false)
	e.stats.closed.Add(1)
	e.dropFD(c)
	c.turn.move(moveEnd, 0)
}

// ShareDescriptors says whether another process may have duplicates of the descriptors of
// connections, so that closing one does not end its connection. While it may, connections
// are shut down explicitly.
func (e *Engine) ShareDescriptors(shared bool) { e.shared.Store(shared) }

// Duplicate returns a duplicate of the connection's descriptor, which the caller closes.
func (c *Conn) Duplicate() (fd int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine == nil || c.stream() != nil || c.hasLocked(flagClosing|flagReleased) {
		return -1, net.ErrClosed
	}
	return dupFD(int(c.fd))
}

// DuplicateListeners returns duplicates of the descriptors that the engine accepts from. From
// then on a Unix socket stays in its directory when the engine closes it.
func (e *Engine) DuplicateListeners() (fds []int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.listeners {
		if l.conn.engine == nil { // a goroutine accepts
			continue
		}
		if u, ok := l.net.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		fd, err := dupFD(int(l.conn.fd))
		if err != nil {
			for _, fd := range fds {
				closeFD(fd)
			}
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// LastID returns the highest ID that a connection has had, and ContinueIDs has the engine
// go on from one, so that imported connections keep theirs.
func (e *Engine) LastID() uint64          { return uint64(e.lastGen.Load()) }
func (e *Engine) ContinueIDs(last uint64) { e.lastGen.Store(max(e.lastGen.Load(), uint32(last))) }
