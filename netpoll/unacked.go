package netpoll

import "time"

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
