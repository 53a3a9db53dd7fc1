package server

import (
	"context"
	"errors"
	"time"

	"fanfare/frame"
	"fanfare/server/inbox"
)

// ErrNoInbox: the server keeps no messages, Config.Inbox is nil.
var ErrNoInbox = errors.New("server: there is no inbox")

// Durable is a message that is kept until the user has it.
type Durable struct {
	Op      Op
	Payload []byte
	// ID makes a repetition harmless: see inbox.Entry.
	ID string
	// TTL is how long the user may want it; 0: as long as it is kept.
	TTL time.Duration
}

// Stored says what became of a Durable.
type Stored struct {
	// Offset is its place in the user's inbox.
	Offset uint64
	// Receivers is the number of connections that get it now.
	Receivers int
}

// PushDurable stores a message for a user, and sends it to the user's connections
// when it is stored. Errors: ErrNoInbox, and those of inbox.Store.Append.
func (srv *Server) PushDurable(ctx context.Context, user string, d Durable) (Stored, error) {
	p, err := srv.beginDurable(user, d)
	if err != nil {
		return Stored{}, err
	}
	return p.finish(ctx)
}

// durable is a PushDurable that has its place in the order of the user's messages.
type durable struct {
	srv     *Server
	user    string
	message *frame.Prepared
	pending inbox.Pending
}

func (srv *Server) beginDurable(user string, d Durable) (durable, error) {
	if srv.unread == nil {
		return durable{}, ErrNoInbox
	}
	message := frame.Prepare(d.Op, d.Payload)
	return durable{srv, user, message, srv.unread.store.Begin(inbox.User(user), inbox.Entry{
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
	return Stored{r.Offset, d.srv.storedEverywhere(d.user, r.Offset, r.Prev, message)}, nil
}
