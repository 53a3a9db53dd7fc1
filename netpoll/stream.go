package netpoll

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stream serves a connection with a goroutine: any connection of the goroutine
// transport, and an adopted connection that has no descriptor to take (TLS). The
// goroutine holds the read turn all the time.
//
// Writes do not block here either. They are tried on the descriptor, and a second
// goroutine, which exists only while there is a queue, writes what the socket does not
// accept.
type stream struct {
	nc  net.Conn
	raw syscall.RawConn // nil: not a plain socket, so all writes go through the queue

	handling atomic.Bool // Open or Data is running

	// guarded by Conn.mu
	try      func(uintptr) bool // bound once, so that send does not allocate
	b        []byte
	n        int
	err      error
	draining bool          // a goroutine writes the queue
	drained  chan struct{} // closed when that goroutine ends; may be nil
}

// streamBuffer is the size of the read buffer that each of these connections has.
const streamBuffer = 4 << 10

// openStream makes c a connection that a goroutine is going to serve: the caller
// starts pump, after h.Open.
func (e *Engine) openStream(nc net.Conn, c *Conn, h Handler) {
	s := &stream{nc: nc}
	if isSocket(nc) {
		s.raw, _ = nc.(syscall.Conn).SyscallConn()
	}
	s.try = func(fd uintptr) bool {
		s.n, s.err = trySend(fd, s.b)
		return true // never wait
	}
	c.begin(e, h, s, -1)
	e.streams.put(c)
	e.stats.opened.Add(1)
	if e.closing.Load() {
		c.Close() // Engine.Close may have closed the streams already
	}
	e.done.Add(1) // for pump
}

// openStream calls Handler.Open.
func (c *Conn) openStream() {
	s := c.stream()
	s.handling.Store(true)
	c.handler.Open(c)
	s.handling.Store(false)
}

func (c *Conn) serveAccepted() {
	c.openStream()
	c.pump(c.stream())
}

// pump reads until the connection ends.
func (c *Conn) pump(s *stream) {
	defer c.engine.done.Done()
	buf := make([]byte, streamBuffer)
	for {
		c.Uncork()
		switch flags := c.flags.Load(); {
		case flags&flagReleased != 0:
			return // detached
		case flags&flagClosing != 0:
			c.release(nil)
			return
		}
		n, err := s.read(c, buf)
		if n > 0 {
			c.traffic().received.Add(int64(n))
			c.deliverAll(buf[:n])
			continue
		}
		if err != nil {
			if err == io.EOF {
				s.awaitSealed(c)
			}
			c.release(err)
			return
		}
	}
}

// awaitSealed is called at the end of the peer's stream, and waits until the sealed bytes
// are sent or the connection is closed. The turn of a descriptor asks peerEnded instead.
func (s *stream) awaitSealed(c *Conn) {
	c.mu.Lock()
	if !s.draining || c.peerEndedLocked() {
		c.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	s.drained = drained
	c.mu.Unlock()
	<-drained
}

// send tries to write without waiting. The caller holds Conn.mu.
func (s *stream) send(b []byte) (int, error) {
	if s.raw == nil {
		return 0, nil
	}
	s.b, s.n, s.err = b, 0, nil
	if err := s.raw.Write(s.try); err != nil {
		return 0, err
	}
	s.b = nil
	return s.n, s.err
}

// drainLocked starts a goroutine that writes the queue.
func (s *stream) drainLocked(c *Conn) {
	s.draining = true
	c.engine.done.Add(1)
	go s.drain(c)
}

func (s *stream) drain(c *Conn) {
	defer c.engine.done.Done()
	c.mu.Lock()
	over := s.drainedLocked(c)
	c.mu.Unlock()
	if over {
		s.interrupt(c)
	}
}

func (s *stream) drainedLocked(c *Conn) (over bool) {
	for c.out != nil && !c.out.empty() && !c.hasLocked(flagClosing|flagReleased) {
		c.out.busy = true
		b := c.out.first()
		c.mu.Unlock()
		n, err := s.write(c, b)
		c.traffic().sent.Add(int64(n))
		c.mu.Lock()
		c.out.busy = false
		c.out.sent(n)
		if err != nil && !c.hasLocked(flagClosing) {
			c.brokenLocked()
			over = true
		}
	}
	s.draining = false
	if s.drained != nil {
		close(s.drained) // the receiver then waits for mu
		s.drained = nil
	}
	if c.hasLocked(flagClosing | flagReleased) {
		if c.out != nil {
			c.dropQueueLocked()
		}
		return over
	}
	return c.flushedLocked()
}

// interrupt ends a Read or Write that is under way. It does not close nc: the holder of
// the turn does, because that may block (TLS sends close_notify).
func (s *stream) interrupt(c *Conn) {
	if s.setDeadline(c, time.Unix(1, 0)) != nil {
		s.close(c)
	}
}

// closeWrite shuts down the sending side, in a goroutine because TLS sends close_notify
// and may block.
func (s *stream) closeWrite(c *Conn) {
	half, ok := s.nc.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	c.engine.done.Add(1)
	go func() {
		defer c.engine.done.Done()
		if s.halfClose(c, half) != nil {
			c.mu.Lock()
			c.brokenLocked()
			c.mu.Unlock()
			s.interrupt(c)
		}
	}()
}

// recovered is deferred around the calls of nc, which Adopt gets from outside: a panic is
// logged, counted, and the error of the call.
func (s *stream) recovered(c *Conn, method string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("netpoll: panic in %T.%s: %v", s.nc, method, v)
		c.engine.log.Error("panic recovered", "where", fmt.Sprintf("%T.%s", s.nc, method), "panic", v, "stack", string(debug.Stack()))
		c.engine.stats.panics.Add(1) // last: a reader of the counter finds it in the log
	}
}

func (s *stream) read(c *Conn, b []byte) (n int, err error) {
	defer s.recovered(c, "Read", &err)
	return s.nc.Read(b)
}

func (s *stream) write(c *Conn, b []byte) (n int, err error) {
	defer s.recovered(c, "Write", &err)
	return s.nc.Write(b)
}

func (s *stream) setDeadline(c *Conn, t time.Time) (err error) {
	defer s.recovered(c, "SetDeadline", &err)
	return s.nc.SetDeadline(t)
}

// halfClose calls CloseWrite. Only a panic is an error.
func (s *stream) halfClose(c *Conn, half interface{ CloseWrite() error }) (err error) {
	defer s.recovered(c, "CloseWrite", &err)
	half.CloseWrite()
	return nil
}

func (s *stream) close(c *Conn) (err error) {
	defer s.recovered(c, "Close", &err)
	return s.nc.Close()
}

func (e *Engine) dropStream(c *Conn) {
	e.streams.drop(c)
	e.stats.closed.Add(1)
}

func (s *stream) remoteAddr() netip.AddrPort {
	if a, ok := s.nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// active is Conn.Active for a connection with a goroutine of its own, which holds the
// turn all the time.
func (s *stream) active() bool {
	if s.handling.Load() {
		return true
	}
	unread := 0
	s.onSocket(func(fd int) { unread = unreadBytes(fd) })
	return unread > 0
}

// onSocket calls f with the descriptor under nc, if there is one.
func (s *stream) onSocket(f func(fd int)) {
	raw := s.raw
	if raw == nil {
		raw = socketUnder(s.nc)
	}
	if raw != nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// socketUnder returns the socket whose bytes nc transforms: that of a tls.Conn is that of
// the connection it encrypts. It returns nil if it finds none.
func socketUnder(nc net.Conn) syscall.RawConn {
	for range 4 { // wrappers in wrappers
		if sc, ok := nc.(syscall.Conn); ok {
			raw, err := sc.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		}
		inner, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = inner.NetConn()
	}
	return nil
}

// streams is the set of connections that have a stream.
type streams struct {
	mu  sync.Mutex
	set map[*Conn]struct{} // guarded by mu
}

func (s *streams) init() { s.set = make(map[*Conn]struct{}) }

func (s *streams) put(c *Conn) {
	s.mu.Lock()
	s.set[c] = struct{}{}
	s.mu.Unlock()
}

func (s *streams) drop(c *Conn) {
	s.mu.Lock()
	delete(s.set, c)
	s.mu.Unlock()
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set)
}

func (s *streams) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.set))
	for c := range s.set {
		all = append(all, c)
	}
	return all
}
