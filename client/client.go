package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
)

// Client receives messages. Its methods may be called concurrently.
type Client struct {
	cfg  Config
	dial dialFunc

	started atomic.Bool
	tasks   sync.WaitGroup // goroutines of boxes, live messages and refreshes
	pending atomic.Int64   // bytes that wait for handlers
	drained chan struct{}  // has an element after pending was 0

	mu       sync.Mutex
	ctx      context.Context // of Run; nil before. guarded by mu
	boxes    map[string]*box // the inbox is "". guarded by mu
	user     string          // known once a session was open, or from Config. guarded by mu
	known    bool            // guarded by mu
	rejected map[string]bool // topics that a server has rejected. guarded by mu
	careful  bool            // the next handshake names no topics. guarded by mu
	session  *session        // the open one. guarded by mu
	ticket   string          // for the next handshake; empty: none. guarded by mu
}

// New returns a Client, which Run connects.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Client{
		cfg: cfg, user: cfg.User, known: cfg.User != "",
		drained: make(chan struct{}, 1), boxes: make(map[string]*box), rejected: make(map[string]bool),
	}
	c.dial = c.dialWebSocket
	c.boxes[""] = c.newBox("", cfg.Inbox)
	return c, nil
}

func (c *Client) newBox(topic string, h Handler) *box {
	name := any(topic)
	if topic == "" {
		name = nil
	}
	key, err := json.Marshal([]any{c.cfg.User, name})
	if err != nil {
		key = fmt.Appendf(nil, "%q", []string{c.cfg.User, topic}) // not UTF-8
	}
	return &box{c: c, topic: topic, key: "fanfare " + string(key), handler: h}
}

// Subscribe subscribes to a topic, before or while Run runs. A session resumes after the last
// message that was handled, if the Store has its position.
func (c *Client) Subscribe(topic string, h Handler) error {
	if topic == "" || h == nil {
		return errors.New("client: Subscribe needs a topic and a handler")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boxes[topic] != nil {
		return fmt.Errorf("client: topic %q is subscribed already", topic)
	}
	b := c.newBox(topic, h)
	c.boxes[topic] = b
	if c.ctx != nil && c.ctx.Err() == nil {
		b.ctx, b.cancel = context.WithCancel(c.ctx)
		c.tasks.Go(func() {
			if b.load() == nil {
				c.subscribe(b)
			}
		})
	}
	return nil
}

// Unsubscribe ends a subscription. The context of a handler that is running ends.
func (c *Client) Unsubscribe(topic string) {
	c.mu.Lock()
	b := c.boxes[topic]
	if topic == "" || b == nil {
		c.mu.Unlock()
		return
	}
	delete(c.boxes, topic)
	delete(c.rejected, topic)
	s := c.session
	c.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
	if s != nil {
		s.unsubscribe(topic)
	}
}

// subscribe subscribes a box whose position is known, if a session is open.
func (c *Client) subscribe(b *box) {
	c.mu.Lock()
	s := c.session
	if c.boxes[b.topic] != b {
		s = nil
	}
	c.mu.Unlock()
	if s != nil {
		s.enqueue(b.topic)
	}
}

// Run connects, and stays connected until ctx ends, whose error it returns, or until a
// reconnect is of no use.
func (c *Client) Run(ctx context.Context) error {
	if c.started.Swap(true) {
		return errors.New("client: Run was called already")
	}
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.ctx = ctx
	var boxes []*box
	for _, b := range c.boxes {
		b.ctx, b.cancel = context.WithCancel(ctx)
		boxes = append(boxes, b)
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock() // Subscribe starts nothing afterwards
		cancel()
		c.mu.Unlock()
		c.tasks.Wait()
		c.cfg.State(Closed)
	}()
	var loads sync.WaitGroup
	for _, b := range boxes {
		loads.Go(func() { b.load() })
	}
	loads.Wait()
	for failures := 0; ; failures++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		stable, err := c.connect(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if stable {
			failures = 0
		}
		if errors.Is(err, ErrPending) {
			c.cfg.Error(err)
			c.cfg.State(Paused)
			c.drain(ctx)
			failures--
			continue
		}
		d, again := c.judge(err)
		if !again {
			return err
		}
		c.cfg.Error(err)
		c.cfg.State(Waiting)
		sleep(ctx, c.cfg.backoff(failures, d), nil)
	}
}

// judge says whether to reconnect after an error of connect, and when.
func (c *Client) judge(err error) (d delay, again bool) {
	var closed *CloseError
	var handshake *HandshakeError
	hasToken := c.cfg.Token != nil
	switch {
	case errors.As(err, &closed):
		if !outlives(closed.Code) {
			c.dropTicket()
		}
		d, again = afterClose(closed.Code, closed.Reason, hasToken)
		if c.cfg.Reconnect != nil {
			if want, ok := c.cfg.Reconnect(closed.Code, closed.Reason); ok {
				again = want
			}
		}
	case errors.As(err, &handshake):
		if judgesTicket(handshake.Status) && c.dropTicket() {
			return delay{floor: min(handshake.RetryAfter, mostRetryAfter)}, true
		}
		c.mu.Lock()
		named := handshake.Status == 403 && !c.careful && c.named()
		c.careful = named
		c.mu.Unlock()
		d, again = afterStatus(handshake, hasToken, named)
	default:
		var token *TokenError
		again = errors.As(err, &token)
	}
	return d, again
}

// named reports whether a handshake names topics. The caller holds mu.
func (c *Client) named() bool {
	for topic := range c.boxes {
		if topic != "" && !c.rejected[topic] {
			return true
		}
	}
	return false
}

// addPending counts what waits for handlers.
func (c *Client) addPending(n int) {
	if c.pending.Add(int64(n)) > 0 {
		return
	}
	select {
	case c.drained <- struct{}{}:
	default:
	}
}

// drain waits until nothing waits for handlers.
func (c *Client) drain(ctx context.Context) {
	for c.pending.Load() > 0 {
		select {
		case <-c.drained:
		case <-ctx.Done():
			return
		}
	}
}

// live handles a message that is not stored.
func (c *Client) live(ctx context.Context, o *object) {
	if c.cfg.Inbox == nil {
		return
	}
	m := o.message()
	c.addPending(len(m.Data))
	c.tasks.Go(func() {
		defer c.addPending(-len(m.Data))
		if err := c.cfg.Inbox(ctx, m); err != nil && ctx.Err() == nil {
			c.cfg.Error(&HandlerError{m, err})
		}
	})
}

// send sends a command in the open session, if there is one.
func (c *Client) send(cmd command) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s != nil {
		s.send(cmd)
	}
}
