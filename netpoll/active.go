package netpoll

import (
	"net"
	"syscall"
)

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
