package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Payload is what a client sends, or is replied.
type Payload struct {
	Data   []byte // UTF-8 unless Binary
	Binary bool
}

// Text returns a Payload that is text.
func Text(s string) Payload { return Payload{Data: []byte(s)} }

var (
	// ErrNotConnected: no session is open. Nothing was sent.
	ErrNotConnected = errors.New("client: not connected")
	// ErrNoAnswer: the session has ended, or the context has, before there was an answer.
	// The server may have received what was sent.
	ErrNoAnswer = errors.New("client: no answer")
)

// Publish publishes to a topic, where the token allows it, and returns when the server has
// accepted that. The position is that of a durable topic, otherwise zero. The error is
// ErrNotConnected, a *RejectedError, or wraps ErrNoAnswer. Publish repeats nothing.
func (c *Client) Publish(ctx context.Context, topic string, p Payload) (Position, error) {
	o, err := c.call(ctx, p.in(command{Type: "publish", Topic: topic}))
	if err != nil {
		return Position{}, err
	}
	at, _ := o.position()
	return at, nil
}

// Request sends a message to the backend, and returns its answer. Errors are those of Publish.
func (c *Client) Request(ctx context.Context, p Payload) (Payload, error) {
	o, err := c.call(ctx, p.in(command{Type: "request"}))
	if err != nil {
		return Payload{}, err
	}
	m := o.message()
	return Payload{m.Data, m.Binary}, nil
}

// in returns a command with the payload.
func (p Payload) in(cmd command) command {
	if p.Binary {
		cmd.Base64 = &p.Data
		return cmd
	}
	text := string(p.Data)
	cmd.Text = &text
	return cmd
}

// call sends a command in the open session, and waits for the answer.
func (c *Client) call(ctx context.Context, cmd command) (*object, error) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil, ErrNotConnected
	}
	answer := make(chan *object, 1)
	s.mu.Lock()
	s.lastCall++
	cmd.ID = strconv.FormatUint(s.lastCall, 10)
	if s.calls == nil {
		s.calls = make(map[string]chan *object)
	}
	s.calls[cmd.ID] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.calls, cmd.ID)
		s.mu.Unlock()
	}()
	s.send(cmd)
	select {
	case o := <-answer:
		if o.Type == "error" {
			return nil, &RejectedError{Code: o.Code, Text: o.Message}
		}
		return o, nil
	case <-s.over:
		return nil, fmt.Errorf("%w: the connection has ended", ErrNoAnswer)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
}

// answers hands an object to the call that it answers, and reports whether it has the ID of
// one. A call that has given up is of no interest any more.
func (s *session) answers(o *object) bool {
	if o.ID == "" {
		return false
	}
	s.mu.Lock()
	answer := s.calls[o.ID]
	delete(s.calls, o.ID)
	s.mu.Unlock()
	if answer != nil {
		answer <- o
	}
	return true
}
