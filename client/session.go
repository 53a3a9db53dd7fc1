package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that speaks fanfare.v1.
type conn interface {
	// Read returns the next message, or a *CloseError.
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, b []byte) error
	// Ping waits for the answer to a ping.
	Ping(ctx context.Context) error
	// Close says goodbye; CloseNow does not. Both end Read.
	Close()
	CloseNow()
}

// dialFunc opens a connection; heard is called for each sign of life that Read does not
// return. The error is a *HandshakeError or ErrProtocol.
type dialFunc func(ctx context.Context, url string, header http.Header, heard func()) (conn, error)

// session is one connection.
type session struct {
	c     *Client
	ctx   context.Context
	conn  conn
	named []string // topics of the handshake
	open  bool     // hello has come; used by the reader alone
	heard atomic.Bool
	why   error // of the pinger; set before CloseNow

	over chan struct{} // closed when the session has ended

	refresh func() // cancels the planned refresh, or nil; used by the reader alone

	mu       sync.Mutex
	calls    map[string]chan *object // that wait for answers, by ID. guarded by mu
	lastCall uint64                  // guarded by mu
	queue    []string                // topics to subscribe by messages; the server has not answered the first. guarded by mu
}

// connect runs one session. stable reports whether it was open for long.
func (c *Client) connect(ctx context.Context) (stable bool, err error) {
	c.cfg.State(Connecting)
	header, err := c.header(ctx)
	if err != nil {
		return false, err
	}
	s := &session{c: c, ctx: ctx, over: make(chan struct{})}
	defer close(s.over)
	target, err := c.target(s)
	if err != nil {
		return false, err
	}
	opening, cancel := context.WithTimeout(ctx, c.cfg.OpenTimeout)
	s.conn, err = c.dial(opening, target, header, func() { s.heard.Store(true) })
	cancel()
	if err != nil {
		return false, err
	}
	defer s.conn.CloseNow()
	defer context.AfterFunc(ctx, s.conn.Close)()
	late := time.AfterFunc(c.cfg.OpenTimeout, s.conn.CloseNow) // hello
	defer late.Stop()
	began := time.Now()
	err = s.read(late)
	c.mu.Lock()
	c.session = nil
	boxes := c.list()
	c.mu.Unlock()
	for _, b := range boxes {
		b.lost()
	}
	return s.open && time.Since(began) >= c.cfg.StableAfter, err
}

// longestURL bounds the request: the server's --max-header is 8 KiB by default. Topics that
// do not fit are subscribed by messages.
const longestURL = 4000

// target returns the URL of a handshake, and notes the topics that it names.
func (c *Client) target(s *session) (string, error) {
	u, err := url.Parse(c.cfg.URL)
	if err != nil {
		return "", err
	}
	q := u.Query()
	c.mu.Lock()
	boxes, careful := c.list(), c.careful
	skip := func(topic string) bool { return careful || c.rejected[topic] }
	boxes = slices.DeleteFunc(boxes, func(b *box) bool { return b.topic != "" && skip(b.topic) })
	c.mu.Unlock()
	length := len(u.String())
	for _, b := range boxes {
		suffix := ""
		more := url.Values{}
		if b.topic != "" {
			suffix = "." + b.topic
			more.Set("topic", b.topic)
		}
		if p := b.place(); p != nil {
			more.Set("offset"+suffix, strconv.FormatUint(p.Offset, 10))
			more.Set("epoch"+suffix, p.Epoch)
		}
		n := len(more.Encode()) + 1
		if b.topic != "" {
			if length+n > longestURL {
				continue
			}
			s.named = append(s.named, b.topic)
		}
		length += n
		for name, values := range more {
			q[name] = append(q[name], values...)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// list returns the boxes in the order of their topics. The caller holds mu.
func (c *Client) list() []*box {
	var topics []string
	for topic := range c.boxes {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	var boxes []*box
	for _, topic := range topics {
		boxes = append(boxes, c.boxes[topic])
	}
	return boxes
}

// read reads until the session ends.
func (s *session) read(late *time.Timer) error {
	c := s.c
	pinging, stop := context.WithCancel(s.ctx)
	var pinger sync.WaitGroup
	defer pinger.Wait()
	defer s.renew(0)
	defer stop()
	for {
		// The context of Run ends a session by Close.
		b, err := s.conn.Read(context.WithoutCancel(s.ctx))
		if err != nil {
			stop()
			pinger.Wait()
			switch {
			case s.why != nil:
				return &CloseError{Code: 1006, Err: s.why}
			case !s.open && isLost(err):
				return &HandshakeError{Err: fmt.Errorf("no hello: %w", err)}
			}
			return err
		}
		s.heard.Store(true)
		o, err := parse(b)
		if err != nil {
			return err
		}
		if o.Type == "hello" && !s.open {
			late.Stop()
			if err := s.begin(o); err != nil {
				return err
			}
			pinger.Go(func() { s.ping(pinging) })
		}
		s.take(o)
		if c.pending.Load() > int64(c.cfg.MaxPending) {
			return ErrPending
		}
	}
}

func isLost(err error) bool {
	var closed *CloseError
	return errors.As(err, &closed) && closed.Code == 1006
}

// begin takes the first hello.
func (s *session) begin(o *object) error {
	c := s.c
	c.mu.Lock()
	if c.known && c.user != o.User {
		defer c.mu.Unlock()
		return fmt.Errorf("%w: it belongs to %q, the positions to %q", ErrUser, o.User, c.user)
	}
	c.user, c.known, c.careful = o.User, true, false
	c.session, s.open = s, true
	boxes := c.list()
	c.mu.Unlock()
	c.cfg.State(Open)
	for _, b := range boxes {
		if b.topic != "" && !slices.Contains(s.named, b.topic) {
			s.enqueue(b.topic)
		}
	}
	return nil
}

// take takes an object of the server.
func (s *session) take(o *object) {
	if s.answers(o) {
		return
	}
	c := s.c
	c.mu.Lock()
	b := c.boxes[o.Topic]
	c.mu.Unlock()
	switch o.Type {
	case "refresh":
		c.keepTicket(o)
		s.renew(o.ExpiresIn)
	case "hello", "subscribe":
		if o.Type == "hello" {
			c.keepTicket(o)
			s.renew(o.ExpiresIn)
		}
		if b != nil {
			b.begin(o)
		}
		if o.Type == "subscribe" {
			s.answered(o.Topic)
		}
	case "error":
		s.rejected(o)
	case "message":
		if p, ok := o.position(); ok && b != nil {
			b.receive(o, p)
		} else if !ok && o.Topic == "" {
			c.live(s.ctx, o)
		}
	}
}

// Subscriptions by messages. An error names no topic, so one is on its way at a time.

func (s *session) enqueue(topic string) {
	s.mu.Lock()
	s.queue = append(s.queue, topic)
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.request()
	}
}

// answered is called with the topic of an answer.
func (s *session) answered(topic string) {
	s.mu.Lock()
	ours := len(s.queue) > 0 && s.queue[0] == topic
	if ours {
		s.queue = s.queue[1:]
	}
	s.mu.Unlock()
	if ours {
		s.request()
	}
}

// request sends the first subscription of the queue.
func (s *session) request() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return
		}
		topic := s.queue[0]
		s.mu.Unlock()
		s.c.mu.Lock()
		b := s.c.boxes[topic]
		s.c.mu.Unlock()
		if b != nil {
			cmd := command{Type: "subscribe", Topic: topic}
			if p := b.place(); p != nil {
				cmd.Offset, cmd.Epoch = &p.Offset, p.Epoch
			}
			s.send(cmd)
			return
		}
		s.mu.Lock()
		s.queue = s.queue[1:]
		s.mu.Unlock()
	}
}

func (s *session) rejected(o *object) {
	topic := ""
	switch o.Code {
	case "forbidden", "too_many_topics", "bad_name":
		s.mu.Lock()
		if len(s.queue) > 0 {
			topic = s.queue[0]
		}
		s.mu.Unlock()
	}
	s.c.cfg.Error(&RejectedError{o.Code, o.Message, topic})
	if topic == "" {
		return
	}
	s.c.mu.Lock()
	s.c.rejected[topic] = true
	s.c.mu.Unlock()
	s.answered(topic)
}

func (s *session) unsubscribe(topic string) {
	s.mu.Lock()
	at := slices.Index(s.queue, topic)
	if at > 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
	}
	s.mu.Unlock()
	if at <= 0 {
		s.send(command{Type: "unsubscribe", Topic: topic})
	}
}

// send sends a command. If that fails, so does Read.
func (s *session) send(cmd command) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.c.cfg.PingTimeout)
	defer cancel()
	if s.conn.Write(ctx, cmd.encode()) != nil {
		s.conn.CloseNow()
	}
}

// ping pings a silent connection.
func (s *session) ping(ctx context.Context) {
	for sleep(ctx, s.c.cfg.PingInterval, nil) == nil {
		if s.heard.Swap(false) {
			continue
		}
		waiting, cancel := context.WithTimeout(ctx, s.c.cfg.PingTimeout)
		err := s.conn.Ping(waiting)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.why = fmt.Errorf("no answer to a ping within %v", s.c.cfg.PingTimeout)
			s.conn.CloseNow()
			return
		}
	}
}
