package api

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// patientListener goes on when accepting fails, because descriptors run out for
// instance. fasthttp would give up for good.
type patientListener struct {
	net.Listener
	quit  <-chan struct{}
	log   *slog.Logger
	waits int // in a row; owned by the one that accepts
}

const (
	patienceMin = 5 * time.Millisecond
	patienceMax = time.Second
)

// Accept fails only when the listener is closed or the server ends.
func (l *patientListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.waits = 0
			return &conn{Conn: c}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if l.waits == 0 {
			l.log.Error("the API cannot accept connections, and tries on", "err", err)
		}
		wait := time.NewTimer(min(patienceMin<<min(l.waits, 10), patienceMax))
		l.waits++
		select {
		case <-wait.C:
		case <-l.quit:
			wait.Stop()
			return nil, net.ErrClosed
		}
	}
}
