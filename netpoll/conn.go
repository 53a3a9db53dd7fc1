package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
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

// Conn is a connection: a non-blocking descriptor with its generation, read
// turn and outbound queue. It is meant to be embedded in the struct that
// implements Handler, so that a connection is one allocation; it must not be
// copied once opened.
//
// All methods may be called from any goroutine, and none of them blocks. Before
// it is opened there is nobody to write to; Close and Seal then close it as soon
// as it is.
type Conn struct {
	// Immutable after open.
	handler Handler
	engine  *Engine
	link    *stream // what is between the bytes and the handler; nil: a raw descriptor
	fd      int32
	gen     uint32

	turn  turn          // who may read; see turn.go
	flags atomic.Uint32 // written with mu held, read without

	mu  sync.Mutex
	out *queue // unsent bytes; nil at rest. guarded by mu
}

const (
	flagQueued       uint32 = 1 << iota // out is not nil
	flagCorked                          // out gathers and is not to be sent yet
	flagSealed                          // nothing may be written any more
	flagCloseFlushed                    // close when out is empty
	flagHalfClose                       // shut down the sending side when out is empty
	flagHalfClosed                      // it has been
	flagClosing                         // the turn's holder is to release the descriptor
	flagReleased                        // fd is no longer ours
	flagListener                        // fd listens
	flagBroken                          // a write failed
	flagLeftover                        // the engine keeps bytes that Data has not consumed
	flagPeerEnded                       // the peer ended the stream, and waits for what was sealed
)

func (c *Conn) has(flag uint32) bool    { return c.flags.Load()&flag != 0 }
func (c *Conn) setLocked(flag uint32)   { c.flags.Store(c.flags.Load() | flag) }
func (c *Conn) clearLocked(flag uint32) { c.flags.Store(c.flags.Load() &^ flag) }
func (c *Conn) hasLocked(f uint32) bool { return c.flags.Load()&f != 0 }

// begin opens a connection that nobody else uses, except perhaps to close it
// already. The caller holds the turn.
func (c *Conn) begin(e *Engine, h Handler, link *stream, fd int) {
	c.turn.hold()
	c.mu.Lock()
	c.handler, c.engine, c.link, c.fd, c.gen = h, e, link, int32(fd), e.nextGen()
	c.mu.Unlock()
}

// Close ends the connection at once; what is queued is dropped. Handler.Close
// follows on a worker.
func (c *Conn) Close() {
	c.mu.Lock()
	over := c.engine != nil && !c.hasLocked(flagClosing|flagReleased)
	c.closeLocked()
	c.mu.Unlock()
	if over {
		c.interrupt()
	}
}

// closeLocked stops writers and drops what they left. The descriptor stays ours
// until the holder of the turn releases it.
func (c *Conn) closeLocked() {
	c.setLocked(flagClosing | flagSealed)
	if c.out != nil && !c.out.busy {
		c.dropQueueLocked()
	}
}

// interrupt brings the holder of the turn to look at the flags.
func (c *Conn) interrupt() {
	if c.link != nil {
		c.link.interrupt()
		return
	}
	c.wake(0)
}

// wake asks for a turn from outside of the poller.
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

// release gives up the descriptor. Only the holder of the turn may call it, and
// it ends the turn for good.
func (c *Conn) release(err error) {
	c.mu.Lock()
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
	c.setLocked(flagReleased) // behind this no writer touches fd
	c.mu.Unlock()
	if c.has(flagLeftover) {
		c.engine.dropLeftover(c)
	}
	if c.link != nil {
		c.link.onSocket(limitUnsent)
		c.link.nc.Close()
		c.engine.forgetStream(c)
	} else {
		c.engine.forget(c, true)
	}
	c.turn.move(moveEnd, 0)
	c.handler.Close(c, err)
}

// CanWrite tells whether bytes can still be written: neither Close nor Seal was
// called, and the connection is not known to be broken.
func (c *Conn) CanWrite() bool { return !c.has(flagSealed) }

// ID tells the connections of one engine apart, also those that have or had the
// same descriptor, until 2^32 more have come.
func (c *Conn) ID() uint64 { return uint64(c.gen) }

// Queued is the number of bytes that wait for the peer to read.
func (c *Conn) Queued() int {
	if !c.has(flagQueued) {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil {
		return 0
	}
	return c.out.size
}

// RemoteAddr asks the kernel for the peer's address, so that it costs no memory
// while nobody wants it. It is the zero AddrPort for a Unix socket and for a
// connection that is gone.
func (c *Conn) RemoteAddr() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.hasLocked(flagReleased) || c.engine == nil:
		return netip.AddrPort{}
	case c.link != nil:
		return c.link.remoteAddr()
	}
	return peerAddr(int(c.fd))
}

// ErrDetached is returned by Detach for a connection that is closed or sealed, or
// has unsent bytes.
var ErrDetached = errors.New("netpoll: connection is closed or has unsent bytes")

// Detach takes the connection away from the engine and returns it as a
// net.Conn, for the protocols that the engine does not serve. It may be called
// only by Handler.Open and Handler.Data, which must not use c afterwards; what Data
// returns is ignored then, and Handler.Close is not called. After an error the connection is what it was.
func (c *Conn) Detach() (net.Conn, error) {
	var nc net.Conn
	var err error
	if c.link != nil {
		nc = c.link.nc
	} else if nc, err = connOf(int(c.fd)); err != nil {
		return nil, fmt.Errorf("netpoll: detach: %w", err)
	}
	c.mu.Lock()
	ok := !c.hasLocked(flagSealed) && (c.out == nil || c.out.empty())
	if ok {
		if c.out != nil {
			c.freeQueueLocked() // empty, but corked
		}
		c.setLocked(flagSealed | flagReleased)
	}
	c.mu.Unlock()
	switch {
	case !ok && c.link == nil:
		nc.Close() // ours is still open
		fallthrough
	case !ok:
		return nil, ErrDetached
	case c.link != nil:
		c.engine.forgetStream(c)
	default:
		c.engine.forget(c, false)
	}
	return nc, nil
}
