package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
)

const (
	// maxQueued and maxQueuedBytes bound the commands and replies queued for the
	// sender. They wait while NATS does not read, at most until natsconn gives
	// the connection up.
	maxQueued      = 64 << 10
	maxQueuedBytes = 64 << 20
	// staleAfter is how long a message may wait. Its Ask has returned long before.
	staleAfter = 2 * time.Second
)

// outgoing is an item of the sender's queue: a message, or a function to call.
type outgoing struct {
	subject string
	body    []byte
	at      time.Time // zero: never stale
	stored  *stored   // set if the message is a command of VerbStored
	do      func()
}

// post queues a message that must not be dropped. Only the control loop does so,
// a few times a second.
func (c *Cluster) post(o outgoing) { c.out.put(o, len(o.body), true) }

// try queues a message if there is room. It is for messages that may be lost, such as
// an echo, for which the other node asks again.
func (c *Cluster) try(o outgoing) {
	if !c.out.put(o, len(o.body), false) {
		c.count.queueFull.Add(1)
	}
}

// send is the goroutine that uses the connection to NATS. It may be blocked by a
// write for seconds; nothing else waits for it.
func (c *Cluster) send() {
	for {
		select {
		case <-c.last:
			c.flushOut()
			return
		case <-c.out.ready:
			c.flushOut()
		}
	}
}

// flushOut sends all that waits. Changes of interest come first: what is sent next
// may depend on them.
func (c *Cluster) flushOut() {
	for {
		c.followInterest()
		o, ok := c.out.take()
		switch {
		case !ok:
			return
		case o.do != nil:
			o.do()
		case !o.at.IsZero() && c.now().Sub(o.at) > staleAfter:
			c.dropped(o, &c.count.expired, "waited too long", nil)
		default:
			c.publish(o)
		}
	}
}

func (c *Cluster) followInterest() {
	version, err := c.buckets.follow(c.nc.Load(), c.lanes[0].in)
	if err != nil {
		// The connection is closed for good; redial has everything subscribed again.
		c.warn("NATS subscribe failed", err.Error(), "connection", role, "err", err)
		return
	}
	c.links.subscribed.Store(version)
}

// subscribeAll makes the subscriptions of a new connection.
func (c *Cluster) subscribeAll() {
	nc := c.nc.Load()
	for _, s := range []struct {
		subject string
		to      chan *nats.Msg
	}{
		{controlSubject, c.control},
		{replySubject(c.id), c.replies},
		{everySubject, c.lanes[1].in},
	} {
		if _, err := nc.ChanSubscribe(s.subject, s.to); err != nil {
			c.warn("NATS subscribe failed", err.Error(), "connection", role, "subject", s.subject, "err", err)
		}
	}
	c.buckets.renew()
	c.followInterest()
}

// publish sends one message, in fragments if it exceeds what the server allows.
func (c *Cluster) publish(o outgoing) {
	if !c.conn.up.Load() {
		c.dropped(o, &c.count.unreachable, "no connection to NATS", nil)
		return
	}
	nc := c.nc.Load()
	most := nc.MaxPayload()
	c.conn.maxPayload.Store(most)
	if most < minPayload {
		c.dropped(o, &c.count.tooBig, "the NATS server allows too little", fmt.Errorf("max_payload is %d, want at least %d", most, minPayload))
		return
	}
	c.links.messages++
	for _, part := range split(o.body, int(min(most, maxMessage)), c.id, c.links.messages) {
		if err := nc.Publish(o.subject, part); err != nil {
			reason := &c.count.unreachable
			if errors.Is(err, nats.ErrMaxPayload) {
				reason = &c.count.tooBig // it was lowered a moment ago
			}
			c.dropped(o, reason, "NATS publish failed", err)
			return
		}
		c.count.sent.Add(1)
		c.count.sentBytes.Add(int64(len(part)))
	}
	if o.stored != nil && c.repeats.early(c.now(), &c.conn) {
		c.repeats.keepEarly(*o.stored)
	}
}

// dropped counts and logs a message that was not sent. A command that announces a
// stored message is repeated when there is a connection.
func (c *Cluster) dropped(o outgoing, reason interface{ Add(int64) int64 }, why string, err error) {
	reason.Add(1)
	if o.stored != nil {
		c.repeats.keepLost(*o.stored)
	}
	args := []any{"reason", why, "subject", o.subject, "bytes", len(o.body)}
	if err != nil {
		args = append(args, "err", err)
	}
	c.warn("message to other nodes dropped", why, args...)
}

// dispatch queues a command for the sender, or says why not.
func (c *Cluster) dispatch(o outgoing) error {
	if c.left.Load() {
		return errLeft
	}
	if len(o.body) > maxMessage {
		c.dropped(o, &c.count.tooBig, "too big", nil)
		return fmt.Errorf("%w: message is %d bytes, nodes carry at most %d", server.ErrTooBig, len(o.body), maxMessage)
	}
	if err := c.conn.ready(); err != nil {
		c.dropped(o, &c.count.unreachable, "no connection to NATS", nil)
		return err
	}
	if !c.out.put(o, len(o.body), false) {
		c.dropped(o, &c.count.queueFull, "queue full", nil)
		n, bytes := c.out.size()
		return fmt.Errorf("%w: %d messages of %d bytes wait for NATS", server.ErrUnreachable, n, bytes)
	}
	return nil
}
