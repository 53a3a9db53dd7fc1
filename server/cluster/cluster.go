package cluster

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
	"fanfare/server/internal/field"
)

// Cluster implements server.Cluster over NATS. Its methods may be called by any
// number of goroutines.
type Cluster struct {
	// Immutable after New.
	cfg Config
	log *slog.Logger
	id  nodeID
	now func() time.Time // the clock; time.Now, but for tests

	nc   atomic.Pointer[nats.Conn]
	node server.Node // immutable after Join

	conn    connection
	out     *queue[outgoing]
	buckets interest
	peers   peers
	asks    asks
	links   links
	repeats repeats

	control chan *nats.Msg // beats, byes and probes
	replies chan *nats.Msg
	linked  chan nodeID   // nodes that confirm that this one reaches them
	lanes   [2]*lane      // to a user or topic; to every node
	missing chan struct{} // Node.Missed is to be called

	joined  atomic.Bool
	left    atomic.Bool
	quit    chan struct{} // closed by Leave
	last    chan struct{} // closed when only the sender is left
	running sync.WaitGroup
	sending sync.WaitGroup

	count counters
	limit limiter
}

var _ server.Cluster = (*Cluster)(nil)

// New connects to NATS. It returns soon, without an error, if no NATS server
// answers: the connection is established as soon as one does. ctx bounds nothing
// but the call itself.
func New(ctx context.Context, cfg Config) (*Cluster, error) { return start(ctx, cfg, time.Now) }

func start(ctx context.Context, cfg Config, now func() time.Time) (*Cluster, error) {
	if err := ctx.Err(); err != nil {
		return nil, field.Wrapf("cluster: %w", err)
	}
	c := &Cluster{
		now:     now,
		out:     newQueue[outgoing](maxQueued, maxQueuedBytes),
		control: make(chan *nats.Msg, 4<<10),
		replies: make(chan *nats.Msg, burst),
		linked:  make(chan nodeID, 256),
		lanes:   [2]*lane{newLane(), newLane()},
		missing: make(chan struct{}, 1),
		quit:    make(chan struct{}),
		last:    make(chan struct{}),
	}
	rand.Read(c.id[:])
	if err := cfg.validate(c.id); err != nil {
		return nil, err
	}
	c.cfg, c.log = cfg, cfg.Logger
	c.peers.init(c.id, cfg.Name)
	c.asks.init()
	c.links.init()
	nc, err := c.dial()
	if err != nil {
		return nil, field.Wrapf("cluster: %w", err)
	}
	c.nc.Store(nc)
	return c, nil
}

// Join starts serving the commands of other nodes with n.
func (c *Cluster) Join(n server.Node) error {
	if c.left.Load() {
		return errLeft
	}
	if !c.joined.CompareAndSwap(false, true) {
		panic("BUG: cluster: Join was called twice")
	}
	c.node = n
	c.out.put(outgoing{do: c.subscribeAll}, 0, true)
	for _, l := range c.lanes {
		c.running.Go(func() { c.receive(l) })
		c.running.Go(func() { c.serveLane(l) })
	}
	c.running.Go(c.receiveReplies)
	c.running.Go(c.watch)
	c.running.Go(c.callMissed)
	c.running.Go(c.reportWorking)
	c.running.Go(c.controlLoop)
	c.sending.Go(c.send)
	return nil
}

// leaveTimeout bounds what Leave waits for a NATS server that does not read.
const leaveTimeout = 3 * time.Second

// Leave announces to the other nodes that this one ends, and stops serving. It returns
// within a few seconds even if NATS does not answer.
func (c *Cluster) Leave() {
	if !c.left.CompareAndSwap(false, true) {
		return
	}
	close(c.quit)
	c.post(outgoing{subject: controlSubject, body: appendHeader(nil, kindBye, c.id)})
	close(c.last)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.sending.Wait()
		if c.conn.up.Load() {
			c.nc.Load().FlushTimeout(time.Second)
		}
		c.nc.Load().Close()
		c.running.Wait()
		c.nc.Load().Close() // watch may have made another one
	}()
	select {
	case <-done:
	case <-time.After(leaveTimeout):
		c.log.Warn("cluster left while NATS or a command did not return", "timeout", leaveTimeout)
	}
}

// Name returns the name of this node.
func (c *Cluster) Name() string { return c.cfg.Name }

// Nodes returns the number of live nodes, this one included.
func (c *Cluster) Nodes() int { return 1 + len(c.peers.holding(everyone, c.now())) }

// Ready returns nil while there is a connection to NATS on which this node may
// publish and subscribe, else the reason.
func (c *Cluster) Ready() error {
	if c.left.Load() {
		return errLeft
	}
	return c.conn.ready()
}
