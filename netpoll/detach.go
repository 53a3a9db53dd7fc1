package netpoll

import (
	"errors"
	"fmt"
	"net"
)

// ErrDetached is what Detach returns for a connection that is closed or sealed, or has
// unsent bytes.
var ErrDetached = errors.New("netpoll: connection is closed or has unsent bytes")

// Detach takes the connection away from the engine and returns it as a net.Conn, for
// protocols that the engine does not serve. Only Handler.Open and Handler.Data may call
// it, and must not use c afterwards: the engine ignores what Data returns, and does not
// call Handler.Close. After an error the connection is unchanged.
func (c *Conn) Detach() (net.Conn, error) {
	var nc net.Conn
	var err error
	s, l := c.stream(), c.layer()
	if s != nil {
		nc = s.nc
	} else if nc, err = connOf(int(c.fd)); err != nil {
		return nil, fmt.Errorf("netpoll: detach: %w", err)
	}
	c.mu.Lock()
	ok := !c.hasLocked(flagSealed) && (c.out == nil || c.out.empty())
	if ok {
		if c.out != nil {
			c.freeQueueLocked() // corked, but empty
		}
		c.setLocked(flagSealed | flagReleased)
	}
	c.mu.Unlock()
	switch {
	case !ok && s == nil:
		nc.Close() // a duplicate: the connection stays open
		fallthrough
	case !ok:
		return nil, ErrDetached
	case s != nil:
		c.engine.dropStream(c)
	default:
		c.engine.unwatch(c, false)
	}
	if l != nil {
		nc = &layeredConn{Conn: nc, layer: l}
	}
	return nc, nil
}
