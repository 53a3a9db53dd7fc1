package cluster

import (
	"context"
	"fmt"
	"time"

	"fanfare/server"
)

// syncTimeout bounds Sync if its context does not.
const syncTimeout = 5 * time.Second

// Sync returns nil when commands that other nodes send from now on reach this node,
// if it holds the target.
//
// A subscription reaches the other servers of a NATS cluster some time after the
// server that this node is connected to. So this node subscribes to a new subject,
// after the target's, and asks all nodes to answer to that: NATS servers pass
// interest on in order, so an answer proves that the server of the node that sent
// it knows both. A node that does not answer within Config.Timeout is not waited
// for. When it answers later, or joins later, Node.Missed is called, unless that
// node has just connected to NATS and repeats the stored commands that it has sent
// since. When this node's own connection breaks, Sync returns an error at once, and
// Node.Missed is called after the next connect.
//
// Limitation: between NATS clusters that are joined by gateways this holds in
// interest-only mode, which current NATS servers always use.
func (c *Cluster) Sync(ctx context.Context, to server.Target) error {
	t := targetOf(to)
	if t == everyone {
		return nil
	}
	b := &c.buckets.buckets[t]
	b.mu.Lock()
	held, version := b.holds > 0, b.version
	b.mu.Unlock()
	if !held {
		return nil
	}
	if c.links.proven.Load() >= version {
		return nil
	}
	timer := time.NewTimer(syncTimeout)
	defer timer.Stop()
	for c.links.proven.Load() < version {
		woken := c.links.wait(version)
		if err := c.Ready(); err != nil { // after wait: the connection may break here
			c.links.forget(woken)
			return err
		}
		select {
		case <-woken: // it is proven, or the connection broke
			continue
		case <-ctx.Done():
			c.links.forget(woken)
			return ctx.Err()
		case <-c.quit:
			c.links.forget(woken)
			return errLeft
		case <-timer.C:
		}
		c.links.forget(woken)
		if err := c.Ready(); err != nil {
			return err
		}
		return fmt.Errorf("%w: NATS did not confirm a subscription within %v", server.ErrUnreachable, syncTimeout)
	}
	return nil
}
