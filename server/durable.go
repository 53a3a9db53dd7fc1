package server

import (
	"context"
	"errors"
	"time"

	"fanfare/frame"
	"fanfare/server/inbox"
)

var (
	// ErrNoInbox: the server keeps no messages, Config.Inbox is nil.
	ErrNoInbox = errors.New("server: there is no inbox")
	// ErrNotDurable: Config.DurableTopics does not name the topic.
	ErrNotDurable = errors.New("server: the topic is not durable")
)

// Durable is a message that is kept until the user has it.
type Durable struct {
	Op      Op
	Payload []byte // UTF-8 if Op is Text
	// ID makes a repetition harmless: see inbox.Entry.
	ID string
	// TTL is how long the user may want it, by the clocks of servers; 0: as long
	// as it is kept.
	TTL time.Duration
}

// Stored says what became of a Durable.
type Stored struct {
	// Offset is its place in the user's inbox, or in the topic.
	Offset uint64
	// Receivers is the number of connections that get it now.
	Receivers int
}

// PushDurable stores a message for a user, and sends it to the user's connections
// when it is stored. Errors: ErrNoInbox, and those of inbox.Store.Append.
func (srv *Server) PushDurable(ctx context.Context, user string, d Durable) (Stored, error) {
	p, err := srv.beginDurable(user, "", d)
	if err != nil {
		return Stored{}, err
	}
	return p.finish(ctx)
}

// PublishDurable stores a message in a durable topic, and sends it to those who
// follow it. Errors: those of PushDurable, and ErrNotDurable.
func (srv *Server) PublishDurable(ctx context.Context, topic string, d Durable) (Stored, error) {
	p, err := srv.beginDurable("", topic, d)
	if err != nil {
		return Stored{}, err
	}
	return p.finish(ctx)
}

// keeps tells whether a topic is durable.
func (srv *Server) keeps(topic string) bool {
	return srv.unread != nil && covers(srv.cfg.DurableTopics, topic)
}

// durable is a PushDurable or PublishDurable that has its place in the order of the
// messages.
type durable struct {
	srv         *Server
	user, topic string // one of them
	message     *frame.Prepared
	pending     inbox.Pending
}

func (srv *Server) beginDurable(user, topic string, d Durable) (durable, error) {
	if srv.unread == nil {
		return durable{}, ErrNoInbox
	}
	box := inbox.User(user)
	if user == "" {
		if !srv.keeps(topic) {
			return durable{}, ErrNotDurable
		}
		box = inbox.Topic(topic)
	}
	message := frame.Prepare(d.Op, d.Payload)
	return durable{srv, user, topic, message, srv.unread.store.Begin(box, inbox.Entry{
		ID: d.ID, Binary: d.Op == Binary, TTL: d.TTL, Payload: message.Payload(),
	})}, nil
}

// finish must be called.
func (d durable) finish(ctx context.Context) (Stored, error) {
	r, err := d.pending.Finish(ctx)
	if err != nil {
		return Stored{}, err
	}
	d.srv.stats.stored.Add(1)
	message := d.message
	if r.Duplicate {
		message = nil // those who have it already must not get it again
	}
	return Stored{r.Offset, d.srv.storedEverywhere(d.user, d.topic, r.Offset, r.Prev, message)}, nil
}
