package netpoll

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler reacts to what happens on one connection. Calls for one Conn never
// overlap: Open is the first, Close the last, and each of them comes exactly once.
type Handler interface {
	// Open is called before any Data, when c can be written to. For an accepted
	// connection it runs while the listener's next connection waits, so like
	// Accept it must not block. Adopt calls it before it returns, and there it may.
	Open(c *Conn)
	// Data is called with bytes that have arrived, at least one, and returns how
	// many of them it consumed. The engine presents the rest again, before any
	// later bytes, in the connection's next turn; it does so at once if it has no
	// room to keep the rest or no other connection to serve first. A handler returns
	// early when it has worked for so long that other connections should be served.
	// It must consume at least one byte unless it ends or detaches the connection.
	//
	// b is borrowed: it may be modified in place, and is reused after the return.
	Data(c *Conn, b []byte) (n int)
	// Close is called when the connection is over and its descriptor released.
	// err is io.EOF when the peer ended the stream first, net.ErrClosed when this
	// side did, or the error of the read or write that failed.
	Close(c *Conn, err error)
}

// A Releaser is a Handler that needs the connection once more before its descriptor is
// released, for RemoteAddr. Release is called between the last call of Data and Close.
type Releaser interface {
	Release(c *Conn)
}

// Conn is a connection: a non-blocking descriptor with its generation, read turn and
// outbound queue. Embed it in the struct that implements Handler, so that a connection
// is one allocation. It must not be copied once opened.
//
// All methods may be called from any goroutine, and none of them blocks. Before the
// connection is opened, writes return Gone, and Close and Seal take effect as soon as
// it is opened.
type Conn struct {
	// Immutable after open.
	handler Handler
	engine  *Engine
	via     *Via // a goroutine or a layer; nil: fd is read and written as it is
	fd      int32
	gen     uint32

	turn  turn          // the right to read; see turn.go
	flags atomic.Uint32 // written with mu held, read without

	mu  sync.Mutex
	out *queue // unsent bytes; nil at rest. guarded by mu
}

const (
	flagQueued       uint32 = 1 << iota // out is not nil
	flagCorked                          // out gathers, and is not to be sent yet
	flagSealed                          // nothing may be written any more
	flagCloseFlushed                    // close when out is empty
	flagHalfClose                       // shut down the sending side when out is empty
	flagHalfClosed                      // the sending side is shut down
	flagClosing                         // the holder of the turn is to release the descriptor
	flagReleased                        // fd belongs to the connection no longer
	flagListener                        // fd listens
	flagBroken                          // a write failed
	flagLeftover                        // the engine keeps bytes that Data has not consumed
	flagPeerEnded                       // the peer ended the stream while sealed bytes were unsent
	flagEndSealed                       // the layer has sealed the end of the stream
	flagCut                             // bytes that a layer has sealed were dropped: nothing may follow them
	flagFreeze                          // the next holder of the turn parks it, see freeze.go
	flagExported                        // Export was called: nothing may be written
	flagImported                        // Start was not called yet: nothing may be sent
)

func (c *Conn) has(flag uint32) bool    { return c.flags.Load()&flag != 0 }
func (c *Conn) setLocked(flag uint32)   { c.flags.Store(c.flags.Load() | flag) }
func (c *Conn) clearLocked(flag uint32) { c.flags.Store(c.flags.Load() &^ flag) }
func (c *Conn) hasLocked(f uint32) bool { return c.flags.Load()&f != 0 }

// begin binds a Conn to its engine. No other goroutine uses it yet, except perhaps to
// close it. The caller holds the turn afterwards.
func (c *Conn) begin(e *Engine, h Handler, st *stream, fd int) {
	c.turn.hold()
	c.mu.Lock()
	c.handler, c.engine, c.fd, c.gen = h, e, int32(fd), e.nextGen()
	if st != nil {
		c.via = &Via{stream: st}
	}
	c.mu.Unlock()
}

// Close ends the connection at once and drops the outbound queue. What the kernel
// already has is still sent to a peer that reads it within a few seconds. A worker calls
// Handler.Close afterwards.
func (c *Conn) Close() {
	c.mu.Lock()
	over := c.engine != nil && !c.hasLocked(flagClosing|flagReleased)
	c.closeLocked()
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
}

// closeLocked stops writers and drops the queue. The descriptor stays open until the
// holder of the turn releases it.
func (c *Conn) closeLocked() {
	c.setLocked(flagClosing | flagSealed)
	if c.out != nil && !c.out.busy {
		c.dropQueueLocked()
	}
}

// interrupt makes the holder of the turn look at the flags.
func (c *Conn) interrupt() {
	if s := c.stream(); s != nil {
		s.interrupt(c)
		return
	}
	c.wake(0)
}

// wake queues the connection for a turn without an event of the poller.
func (c *Conn) wake(bits Readiness) {
	if _, ok := c.turn.move(moveReady, bits); ok {
		c.engine.inject(c)
	}
}

// data calls Handler.Data and returns how many bytes it consumed.
func (c *Conn) data(b []byte) int {
	n := c.handler.Data(c, b)
	if uint(n) > uint(len(b)) {
		panic(fmt.Sprintf("BUG: netpoll: Handler.Data consumed %d of %d bytes", n, len(b)))
	}
	return n
}

// release gives up the descriptor, ends the turn for good, and calls Handler.Close.
// Only the holder of the turn may call it.
func (c *Conn) release(err error) {
	if h, ok := c.handler.(Releaser); ok {
		h.Release(c)
	}
	c.mu.Lock()
	if l := c.layer(); l != nil {
		c.farewellLocked(l, err)
	}
	switch {
	case c.hasLocked(flagBroken):
		if err == nil {
			err = syscall.EPIPE
		}
	case c.hasLocked(flagPeerEnded):
		err = io.EOF
	case c.hasLocked(flagClosing):
		err = net.ErrClosed
	}
	c.closeLocked()
	c.setLocked(flagReleased) // from here on no writer touches fd
	c.mu.Unlock()
	if l := c.layer(); l != nil {
		l.Release()
	}
	if c.has(flagLeftover) {
		c.engine.dropLeftover(c)
	}
	if s := c.stream(); s != nil {
		s.onSocket(limitUnsent)
		s.close(c)
		c.engine.dropStream(c)
	} else {
		c.engine.unwatch(c, true)
	}
	c.turn.move(moveEnd, 0)
	c.handler.Close(c, err)
}

// CanWrite reports whether bytes can still be written: neither Close nor Seal was
// called, and the connection is not known to be broken.
func (c *Conn) CanWrite() bool { return !c.has(flagSealed | flagExported) }

// ID returns a number that distinguishes the connections of one engine, also from closed
// ones that had the same descriptor. It repeats after 2^32 connections.
func (c *Conn) ID() uint64 { return uint64(c.gen) }

// Queued returns the number of bytes in the outbound queue: bytes that Write accepted
// and neither the kernel nor, without a descriptor, the net.Conn has accepted yet.
//
// For a connection with a descriptor it is more than 0 only while the socket's buffer is
// full, or the connection is corked. For a connection without one (TLS, or a wrapped
// net.Conn) every write passes through the queue, and a goroutine hands message after
// message to the net.Conn: Queued is then more than 0 for a moment after each Write even
// if the peer reads at once, and a message counts in whole until its net.Conn.Write has
// returned. So a sender that paces itself by the peer, whatever the transport, compares
// Queued with a limit, and does not go by whether Write returned Written or Queued.
func (c *Conn) Queued() int {
	if !c.has(flagQueued) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return 0
	}
	return c.out.unsent()
}

// QueuedCost returns what counts against Config.QueueBytes: the bytes that Queued counts
// and 32 for each entry of the outbound queue that holds them, 48 more if it has a Key.
func (c *Conn) QueuedCost() int {
	if !c.has(flagQueued) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return 0
	}
	return c.out.cost()
}

// RemoteAddr asks the kernel for the peer's address, so that an idle connection spends
// no memory on it. It returns the zero AddrPort for a Unix socket and for a connection
// whose descriptor is released.
func (c *Conn) RemoteAddr() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.hasLocked(flagReleased) || c.engine == nil:
		return netip.AddrPort{}
	case c.stream() != nil:
		return c.stream().remoteAddr()
	}
	return peerAddr(int(c.fd))
}

// Active reports whether the connection has input that its Handler has not processed:
// bytes that the kernel has received, bytes that were read and not consumed, or a read
// turn that is queued or running. A caller that takes silence for the death of the peer
// asks it first, because a Handler that blocks, or workers that others keep busy, look
// like silence. It costs a system call if no turn is queued or running.
func (c *Conn) Active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.engine == nil || c.hasLocked(flagReleased):
		return false
	case c.stream() != nil:
		return c.stream().active()
	}
	return c.turn.pending() || unreadBytes(int(c.fd)) > 0
}

// LimitUnacknowledged ends the connection when bytes that were written to it stay
// unacknowledged by the peer's kernel for d, or when the peer has taken no bytes for d
// although there are some for it. It is how a server finds out that a peer that never sends
// anything has vanished: it writes something now and then. It costs one system call, and no
// memory.
//
// It concerns TCP sockets on Linux, with or without a Layer. For other connections it has no
// effect: a Unix socket's peer cannot vanish unnoticed, and elsewhere the kernel gives up
// after a quarter of an hour or so. A Close that follows has a limit of its own.
func (c *Conn) LimitUnacknowledged(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := c.stream(); {
	case c.engine == nil || c.hasLocked(flagReleased):
	case s == nil:
		limitUnacknowledged(int(c.fd), d)
	case s.raw != nil:
		s.raw.Control(func(fd uintptr) { limitUnacknowledged(int(fd), d) })
	}
}
