package netpoll

import (
	"fmt"
	"net"
	"os"
)

func (e *Engine) detach(c *Conn) (net.Conn, error) {
	e.poller.Remove(int(c.fd), false)
	e.table.drop(c.fd, c)
	e.stats.closed.Add(1)
	f := os.NewFile(uintptr(c.fd), "conn")
	nc, err := net.FileConn(f) // has a descriptor of its own
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("netpoll: detach: %w", err)
	}
	return nc, nil
}
