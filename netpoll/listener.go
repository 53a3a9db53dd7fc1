package netpoll

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// listener is a listening descriptor. A poller watches it like any other: conn is its
// place in the table, and its turn is the right to accept. The goroutine transport
// accepts in a goroutine.
type listener struct {
	conn    Conn
	net     net.Listener // stop closes it, too; may be nil
	accept  Accept
	starved atomic.Bool // accepting has paused after an error
	warned  atomic.Int64
}

func (l *listener) Open(*Conn)                 {}
func (l *listener) Data(_ *Conn, b []byte) int { return len(b) }
func (l *listener) Close(*Conn, error)         {}

func (l *listener) stop() {
	l.conn.Close()
	if l.net != nil {
		l.net.Close()
	}
}

// WatchesListener reports whether Listen takes the descriptor out of ln, so that the
// connections have one, too.
func (e *Engine) WatchesListener(ln net.Listener) bool { return e.poller != nil && isSocket(ln) }

// Listen accepts connections from ln until Close or StopAccepting. The engine owns ln
// from now on, also after an error.
func (e *Engine) Listen(ln net.Listener, accept Accept) error {
	if !e.enter() {
		ln.Close()
		return net.ErrClosed
	}
	l := &listener{accept: accept, net: ln}
	if e.WatchesListener(ln) {
		defer e.done.Done()
		fd, err := dupDescriptor(ln)
		if _, ok := ln.(*net.UnixListener); !ok {
			ln.Close() // takes it out of the runtime's poller
			l.net = nil
		} // a Unix listener removes its path when it is closed, so stop closes it
		if err == nil {
			err = e.listenOn(l, fd)
		}
		if err != nil && l.net != nil {
			l.net.Close()
		}
		return err
	}
	e.addListener(l)
	go e.acceptLoop(l) // calls e.done.Done
	return nil
}

// addListener registers a listener with StopAccepting.
func (e *Engine) addListener(l *listener) {
	e.mu.Lock()
	e.listeners = append(e.listeners, l)
	e.mu.Unlock()
	if e.closing.Load() {
		l.stop() // StopAccepting may have run already
	}
}

func (e *Engine) acceptLoop(l *listener) {
	defer e.done.Done()
	for {
		nc, err := l.net.Accept()
		if err == nil {
			var peer netip.AddrPort
			if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
				peer = a.AddrPort()
			}
			c, h := l.accept(netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()))
			if c == nil {
				e.stats.rejected.Add(1)
				nc.SetWriteDeadline(e.deadline(acceptPause))
				nc.Write(e.rejectResponse)
				if half, ok := nc.(interface{ CloseWrite() error }); ok {
					half.CloseWrite()
				}
				e.lingering.hold(func() { nc.Close() }, e.now())
				continue
			}
			e.openStream(nc, c, h)
			go c.serveAccepted()
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		e.acceptFailed(l, err)
		time.Sleep(acceptPause)
	}
}

const (
	acceptPause = 50 * time.Millisecond
	warnEvery   = 10 * time.Second
)

// acceptFailed counts and logs that a connection could not be accepted, most likely
// because no descriptor is free (EMFILE, ENFILE). Open connections are not affected.
func (e *Engine) acceptFailed(l *listener, err error) {
	e.stats.starved.Add(1)
	now := int64(e.now()) + 1
	if last := l.warned.Load(); last == 0 || now-last > int64(warnEvery) {
		l.warned.Store(now)
		e.log.Warn("accept failed", "err", err, "retry", acceptPause, "open", e.Opened())
	}
}

// retryAccept resumes accepting. It is called when a descriptor became free, and when
// the pause is over.
func (e *Engine) retryAccept() {
	if e.stats.starving.Load() == 0 {
		return
	}
	e.mu.Lock()
	listeners := e.listeners
	e.mu.Unlock()
	for _, l := range listeners {
		if l.starved.CompareAndSwap(true, false) {
			e.stats.starving.Add(-1)
			l.conn.wake(Readable)
		}
	}
}
