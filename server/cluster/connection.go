package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
	"fanfare/server/internal/natsconn"
)

// connection mirrors the state of the connection to NATS: every method of nats.Conn
// takes a lock that its writes hold, for seconds if NATS does not read.
type connection struct {
	up         atomic.Bool
	generation atomic.Uint64             // counts connects
	since      atomic.Pointer[time.Time] // time of the last connect
	maxPayload atomic.Int64              // what the NATS server allows this account

	traffic natsconn.Traffic

	denied atomic.Bool // reason says what NATS does not permit

	mu     sync.Mutex
	reason error // why it is not up, or what is denied; guarded by mu
}

var (
	errLeft       = fmt.Errorf("%w: this node has left the cluster", server.ErrUnreachable)
	errConnecting = errors.New("no connection to NATS yet")
)

func (cn *connection) ready() error {
	if cn.up.Load() && !cn.denied.Load() {
		if most := cn.maxPayload.Load(); most < minPayload {
			return fmt.Errorf("%w: the NATS server allows messages of %d bytes (max_payload); want at least %d", server.ErrUnreachable, most, minPayload)
		}
		return nil
	}
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.reason == nil {
		cn.reason = errConnecting
	}
	return fmt.Errorf("%w: %w", server.ErrUnreachable, cn.reason)
}

// connected is called by the NATS client for each connection.
func (c *Cluster) connected(nc *nats.Conn, _ bool) {
	c.conn.maxPayload.Store(nc.MaxPayload())
	if most := nc.MaxPayload(); most < minPayload {
		c.log.Error("NATS max_payload is too small for a cluster", "connection", role, "max_payload", most, "min", minPayload)
	}
	now := c.now()
	c.conn.since.Store(&now) // before the first generation, which says that it is set
	c.conn.generation.Add(1)
	c.conn.denied.Store(false)
	c.conn.up.Store(true)
	c.count.connects.Add(1)
	c.links.wake()
	c.out.wake()
}

// lost is called when the connection breaks and for each failed attempt.
func (c *Cluster) lost(err error) {
	c.conn.setReason(err)
	if c.conn.up.Swap(false) && isTimeout(err) {
		c.count.stalls.Add(1)
	}
	c.links.interrupt()
}

func (cn *connection) setReason(err error) {
	cn.mu.Lock()
	cn.reason = err
	cn.mu.Unlock()
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// slow is called when the NATS client dropped incoming messages.
func (c *Cluster) slow(*nats.Subscription) {
	c.count.slowNode.Add(1)
	c.missed()
}

const (
	// watchEvery is how often this node pings NATS. Two pings that are not answered
	// within watchTimeout end the connection.
	watchEvery   = time.Second
	watchTimeout = time.Second
	// watchRate is the least rate, in bytes a second, of a network that nodes use. A
	// ping follows what was written before it, up to 32 MiB of one command, so each
	// such number of bytes allows one ping more to fail.
	watchRate = 2 << 20
)

// watch ends a connection to a NATS server that accepts bytes but does not answer,
// such as a paused process: writes succeed until the kernel's buffers are full.
func (c *Cluster) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	failures := 0
	var written int64 // by the last answer, or before this connection
	generation := c.conn.generation.Load()
	for {
		select {
		case <-c.quit:
			return
		case <-ticker.C:
		}
		if g := c.conn.generation.Load(); g != generation { // what was written to another connection delays nothing
			generation, failures, written = g, 0, c.conn.traffic.Written.Load()
		}
		nc := c.nc.Load()
		if !c.conn.up.Load() && !nc.IsClosed() {
			failures = 0
			continue
		}
		read := c.conn.traffic.Read.Load()
		err := nc.FlushTimeout(watchTimeout)
		// The error of FlushTimeout does not distinguish a connection that is closed for good
		// from one that is being re-established.
		if nc.IsClosed() && !c.left.Load() {
			c.redial()
		}
		if last := nc.LastError(); errors.Is(last, nats.ErrPermissionViolation) && c.conn.up.Load() {
			c.conn.setReason(fmt.Errorf("NATS must permit %s> for publish and subscribe: %w", prefix, last))
			c.conn.denied.Store(true)
		}
		if !errors.Is(err, nats.ErrTimeout) || c.conn.traffic.Read.Load() != read { // what comes first delays the answer
			failures, written = 0, c.conn.traffic.Written.Load()
			continue
		}
		// The second attempt distinguishes a pause of this process from one of NATS.
		before := c.conn.traffic.Written.Load() - written
		if failures++; failures < 2+int(before/watchRate) {
			continue
		}
		failures = 0
		c.count.stalls.Add(1)
		c.log.Warn("NATS does not answer; reconnecting", "connection", role, "timeout", 2*watchTimeout)
		c.lost(errSilent)
		nc.ForceReconnect()
	}
}

var errSilent = errors.New("NATS does not answer")

// redial replaces a connection that the NATS client has closed for good, which it
// does after errors of the server that it does not know how to handle.
func (c *Cluster) redial() {
	err := c.nc.Load().LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	c.lost(err)
	c.warn("NATS connection closed; connecting again", "", "connection", role, "err", err)
	nc, err := c.dial()
	if err != nil {
		c.lost(err)
		c.warn("NATS connect failed", err.Error(), "connection", role, "err", err)
		return // watch tries again
	}
	c.nc.Store(nc)
	c.out.put(outgoing{do: c.subscribeAll}, 0, true)
}

func (c *Cluster) dial() (*nats.Conn, error) {
	cfg := c.cfg.connection(c.log)
	cfg.Traffic = &c.conn.traffic
	return natsconn.Connect(cfg, natsconn.Handlers{
		Connected: c.connected,
		Lost:      c.lost,
		Dropped:   c.slow,
	})
}
