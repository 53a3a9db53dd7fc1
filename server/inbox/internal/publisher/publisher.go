package publisher

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Publisher publishes messages to one stream. It is safe for concurrent use.
type Publisher struct {
	dial    func() (net.Conn, error)
	timeout time.Duration

	mu    sync.Mutex
	queue []*group // a leader exchanges the first; guarded by mu
	conn  *conn    // nil: none; guarded by mu
}

// New returns a Publisher that dials when it first has a message, and after each failure. The
// timeout bounds the exchange of a group.
func New(dial func() (net.Conn, error), timeout time.Duration) *Publisher {
	return &Publisher{dial: dial, timeout: timeout}
}

// request is a message that waits for its answer.
type request struct {
	wake   chan bool // true: lead the group; false: answer or err is set
	reply  int       // where the group has the ID of the connection
	done   bool      // owned by the leader
	answer []byte
	err    error
}

func (r *request) finish(answer []byte, err error) {
	r.answer, r.err, r.done = answer, err, true
	r.wake <- false
}

// Publish sends a message and returns the answer.
func (p *Publisher) Publish(ctx context.Context, m *Message) (answer []byte, err error) {
	r := &request{wake: make(chan bool, 1)}
	leads := p.join(m, r)
	if !leads {
		select {
		case leads = <-r.wake:
		case <-ctx.Done():
			go func() { // the others in the group need a leader
				if <-r.wake {
					p.lead()
				}
			}()
			return nil, ctx.Err()
		}
	}
	if leads {
		p.lead()
	}
	return r.answer, r.err
}

// join adds a message to the last group, and reports whether its caller leads that now.
func (p *Publisher) join(m *Message, r *request) (leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.queue)
	if n == 0 || p.queue[n-1].closed() {
		p.queue = append(p.queue, groups.Get().(*group))
	}
	p.queue[len(p.queue)-1].add(m, r)
	return n == 0
}

// lead exchanges the first group, and wakes the leader of the next one. If the server does not answer in
// time, what has gathered meanwhile has waited long enough, too.
func (p *Publisher) lead() {
	p.mu.Lock()
	g := p.queue[0]
	g.taken = true
	p.mu.Unlock()
	err := p.exchange(g)
	p.mu.Lock()
	n := 1
	if errors.Is(err, context.DeadlineExceeded) {
		n = len(p.queue)
	}
	done := slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	var next *request
	if len(p.queue) > 0 {
		next = p.queue[0].requests[0]
	}
	p.mu.Unlock()
	for _, g := range done {
		g.end(err)
	}
	if next != nil {
		next.wake <- true
	}
}

// exchange sends a group and hands out the answers. After an error some may be missing.
func (p *Publisher) exchange(g *group) error {
	c, fresh, err := p.connection()
	if err == nil {
		var sent int
		sent, err = c.exchange(g)
		if err != nil && sent == 0 && !fresh && c.cause.Load() == nil { // the server closed it while it was idle
			p.drop(c)
			if c, _, err = p.connection(); err == nil {
				_, err = c.exchange(g)
			}
		}
	}
	if err != nil {
		p.drop(c)
	}
	return err
}

// connection returns the connection, and whether it is a new one.
func (p *Publisher) connection() (c *conn, fresh bool, err error) {
	p.mu.Lock()
	c = p.conn
	p.mu.Unlock()
	if c != nil {
		return c, false, nil
	}
	nc, err := p.dial()
	if err != nil {
		return nil, true, err
	}
	c = newConn(nc, p.timeout)
	p.mu.Lock()
	p.conn = c // before the handshake, so that Disconnect ends that
	p.mu.Unlock()
	if err := c.greet(); err != nil {
		return c, true, err
	}
	return c, true, nil
}

func (p *Publisher) drop(c *conn) {
	if c == nil {
		return
	}
	c.Close()
	p.mu.Lock()
	if p.conn == c {
		p.conn = nil
	}
	p.mu.Unlock()
}

// Disconnect closes the connection. Messages that are not answered fail with ErrDisconnected.
func (p *Publisher) Disconnect() {
	p.mu.Lock()
	c := p.conn
	p.conn = nil
	p.mu.Unlock()
	if c != nil {
		c.closeFor(ErrDisconnected)
	}
}
