package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
)

const (
	// maxIncoming and maxIncomingBytes bound the commands that wait for this node
	// to serve them. More are dropped, counted, and lead to Node.Missed.
	maxIncoming      = 64 << 10
	maxIncomingBytes = 64 << 20
	// burst is the room of a channel between the NATS client and the goroutine that
	// moves messages to a queue. That never waits, except for the CPU: the client
	// delivers a small message in some 300 ns, 33,000 in the 10 ms that it may run
	// before Go's scheduler preempts it.
	burst = 64 << 10
	// workingAfter is how long a command waits or runs before this node notifies the
	// one that asked that it will reply.
	workingAfter = 150 * time.Millisecond
	// workingMost bounds how many waiting commands it reports at a time.
	workingMost = 256
)

// lane is a sequence of commands that are served one after another.
type lane struct {
	in      chan *nats.Msg
	queue   *queue[*incoming]
	current atomic.Pointer[incoming] // is being served
	partial reassembler              // owned by receive
}

// incoming is a command of another node.
type incoming struct {
	from   nodeID
	number uint64 // of the Ask; 0: no reply is wanted
	body   []byte
	at     time.Time
}

func newLane() *lane {
	return &lane{in: make(chan *nats.Msg, burst), queue: newQueue[*incoming](maxIncoming, maxIncomingBytes)}
}

// open reads the header of a message. It reports false for one that is dropped.
func (c *Cluster) open(b []byte) (envelope, bool) {
	c.count.received.Add(1)
	c.count.receivedBytes.Add(int64(len(b)))
	e, err := open(b)
	return e, c.accept(e, err)
}

func (c *Cluster) accept(e envelope, err error) bool {
	var other versionError
	switch {
	case errors.As(err, &other):
		c.count.otherVersion.Add(1)
		c.warn("message of another node dropped", err.Error(), "err", err)
		return false
	case err != nil:
		c.malformed(nodeID{}, err)
		return false
	}
	return e.from != c.id
}

// malformed counts and logs a message that is dropped.
func (c *Cluster) malformed(from nodeID, err error) {
	c.count.malformed.Add(1)
	c.warn("message of another node dropped", "malformed", "node", c.peers.nameOf(from), "err", err)
}

// whole returns the message in b, or the one whose last fragment is in b.
func (c *Cluster) whole(p *reassembler, b []byte) (e envelope, ok bool) {
	if e, ok = c.open(b); !ok || e.kind != kindFragment {
		return e, ok
	}
	m, err := p.add(e.from, e.body)
	if err != nil {
		c.count.incomplete.Add(1)
		c.warn("message of another node dropped", "incomplete", "node", c.peers.nameOf(e.from), "err", err)
		return e, false
	}
	if m == nil {
		return e, false
	}
	from := e.from
	e, err = open(m)
	if err == nil && (e.from != from || e.kind == kindFragment) {
		err = errTruncated
	}
	return e, c.accept(e, err)
}

// receive moves the commands of a lane from the NATS client's channel, which is
// bounded by their number only, to a queue that is bounded in bytes.
func (c *Cluster) receive(l *lane) {
	for {
		select {
		case <-c.quit:
			return
		case m := <-l.in:
			c.receiveCommand(l, m)
		}
	}
}

func (c *Cluster) receiveCommand(l *lane, m *nats.Msg) {
	defer c.recovered("panic in a message of another node")
	e, ok := c.whole(&l.partial, m.Data)
	if !ok {
		return
	}
	number, n := binary.Uvarint(e.body)
	if e.kind != kindCommand || n <= 0 {
		c.malformed(e.from, errTruncated)
		return
	}
	in := &incoming{from: e.from, number: number, body: e.body[n:], at: c.now()}
	if !l.queue.put(in, len(in.body), false) {
		c.count.slowNode.Add(1)
		c.warn("command of another node dropped", "slow", "reason", "too many wait", "node", c.peers.nameOf(e.from))
		c.missed()
	}
}

// recovered is deferred around the work for one message, which the others survive. It
// counts and logs a panic.
func (c *Cluster) recovered(event string) {
	if p := recover(); p != nil {
		c.panicked(event, p)
	}
}

func (c *Cluster) panicked(event string, p any, attrs ...any) {
	c.log.Error(event, append([]any{"panic", p, "stack", string(debug.Stack())}, attrs...)...)
	c.count.panics.Add(1) // last: a reader of the counter finds it in the log
}

func (c *Cluster) serveLane(l *lane) {
	for {
		select {
		case <-c.quit:
			return
		case <-l.queue.ready:
		}
		for {
			in, ok := l.queue.take()
			if !ok || c.left.Load() {
				break
			}
			l.current.Store(in)
			reply := c.execute(in.from, in.body)
			l.current.Store(nil)
			if in.number != 0 {
				c.reply(in, &reply)
			}
		}
	}
}

// execute decodes and serves a command.
func (c *Cluster) execute(from nodeID, body []byte) (reply server.Reply) {
	var cmd *server.Command
	defer func() {
		if p := recover(); p != nil {
			attrs := []any{"node", c.peers.nameOf(from)}
			if cmd != nil {
				attrs = append(attrs, "verb", cmd.Verb)
			}
			c.panicked("panic in a command of another node", p, attrs...)
			reply = server.Reply{Error: "internal error: a panic"}
		}
	}()
	cmd, err := decodeCommand(body)
	if err != nil {
		c.malformed(from, err)
		return server.Reply{Error: err.Error()}
	}
	c.count.served.Add(1)
	return c.node.Serve(cmd)
}

// reply sends the reply to a command.
func (c *Cluster) reply(in *incoming, r *server.Reply) {
	body := func(r *server.Reply) []byte {
		return appendReply(appendNumbers(appendHeader(nil, kindReply, c.id), in.number), r)
	}
	b := body(r)
	if len(b) > maxMessage {
		c.count.tooBig.Add(1)
		c.warn("reply to another node too big", "", "bytes", len(b), "sessions", len(r.Sessions))
		b = body(&server.Reply{Count: r.Count, Error: fmt.Sprintf("reply is %d bytes, nodes carry at most %d", len(b), maxMessage)})
	}
	// A reply that is dropped is counted as missing by the node that asked.
	c.dispatch(outgoing{subject: replySubject(in.from), body: b, at: c.now()})
}

// receiveReplies receives the messages that are addressed to this node.
func (c *Cluster) receiveReplies() {
	var partial reassembler
	for {
		select {
		case <-c.quit:
			return
		case m := <-c.replies:
			c.receiveOwn(&partial, m)
		}
	}
}

// receiveOwn handles a message that is addressed to this node.
func (c *Cluster) receiveOwn(partial *reassembler, m *nats.Msg) {
	defer c.recovered("panic in a message of another node")
	if e, ok := c.whole(partial, m.Data); ok {
		c.receiveReply(e)
	}
}

func (c *Cluster) receiveReply(e envelope) {
	switch e.kind {
	case kindProbe:
		c.answerProbe(e)
		return
	case kindLinked:
		select {
		case c.linked <- e.from:
		default: // the control loop repeats for all at once
		}
		return
	}
	number, n := binary.Uvarint(e.body)
	if n <= 0 || e.kind != kindReply && e.kind != kindWorking {
		c.malformed(e.from, errTruncated)
		return
	}
	a := c.asks.find(number)
	switch {
	case e.kind == kindWorking && a != nil:
		a.working(e.from, c.now())
	case e.kind == kindReply:
		r, err := decodeReply(e.body[n:])
		if err != nil {
			c.malformed(e.from, err)
		} else if a != nil {
			r.Node = c.peers.nameOf(e.from)
			a.reply(e.from, r)
		}
	}
}

// reportWorking sends a sign of life to each node whose command is being served, or
// waits, for longer than workingAfter.
func (c *Cluster) reportWorking() {
	ticker := time.NewTicker(workingAfter)
	defer ticker.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-ticker.C:
			if !c.conn.up.Load() {
				continue
			}
			now := c.now()
			for _, l := range c.lanes {
				for _, in := range l.late(now) {
					c.try(outgoing{subject: replySubject(in.from), at: now,
						body: appendNumbers(appendHeader(nil, kindWorking, c.id), in.number)})
				}
			}
		}
	}
}

// late returns commands that have not been answered for a while.
func (l *lane) late(now time.Time) (late []*incoming) {
	check := func(in *incoming) {
		if in.number != 0 && now.Sub(in.at) >= workingAfter {
			late = append(late, in)
		}
	}
	if in := l.current.Load(); in != nil {
		check(in)
		l.queue.peek(workingMost, check)
	}
	return late
}

// missed schedules a call of Node.Missed, one for all calls of missed before it.
func (c *Cluster) missed() { kick(c.missing) }

// missedPause separates calls of Node.Missed, which may look for messages on
// behalf of every session.
const missedPause = 500 * time.Millisecond

func (c *Cluster) callMissed() {
	for {
		select {
		case <-c.quit:
			return
		case <-c.missing:
		}
		c.count.missed.Add(1)
		func() {
			defer c.recovered("panic in Node.Missed")
			c.node.Missed()
		}()
		select {
		case <-c.quit:
			return
		case <-time.After(missedPause):
		}
	}
}
