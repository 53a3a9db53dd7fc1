package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"fanfare/registry"
	"fanfare/server/internal/handover"
	"fanfare/server/node"
	"fanfare/server/store"
)

// link is the connection to the other process of a handover. What is pushed in one of them
// is sent to the other one, too, in the order in which sessions move:
//
//	the session is                       the push reaches it
//	in this process                      here; the other process does not have it
//	in this process, when a round        after the round: pushes hold moving for reading,
//	  begins before the push             a round holds it for writing
//	in the other one                     there: its Commit is on the stream before the Command
//	given back by a round that failed    here: the round has held moving
//
// A push of the taker waits until all sessions have moved: the taker holds moving meanwhile. So
// a session gets each push once, and those of one goroutine in their order, since the
// goroutine that reads the stream executes Commands by itself.
type link struct {
	srv  *Server
	wire *handover.Conn

	// handle is called for everything but Command and Reply, by the goroutine that reads the
	// stream; nil: control has them.
	handle  func(*handover.Message) error
	control chan handover.Message // closed at the end
	over    chan struct{}         // closed at the end of the stream

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- peerReply // guarded by mu; nil: the stream has ended
	err     error                       // why the stream has ended; guarded by mu
}

// peerCommand is a Command of the other process, or a message to store.
type peerCommand struct {
	ID      uint64     `json:"id"`
	Command *Command   `json:"command,omitzero"`
	Box     *Target    `json:"box,omitzero"`
	Entry   *peerEntry `json:"entry,omitzero"`
	Purge   bool       `json:"purge,omitzero"`
}

// peerEntry is an Entry.
type peerEntry struct {
	Op      Op     `json:"op"`
	Payload []byte `json:"payload"`
	ID      string `json:"id,omitzero"`
	TTL     int64  `json:"ttl,omitzero"` // nanoseconds
}

type peerReply struct {
	ID     uint64 `json:"id"`
	Reply  Reply  `json:"reply"`
	Epoch  string `json:"epoch,omitzero"`
	Offset uint64 `json:"offset,omitzero"`
	Fault  uint8  `json:"fault,omitzero"` // index in peerFaults, from 1 on
}

// peerFaults are the errors that callers test for.
var peerFaults = []error{store.ErrFull, store.ErrDiskFull, store.ErrUnavailable, store.ErrDamaged, ErrNoStore, ErrNotDurable, ErrTooBig,
	context.DeadlineExceeded, registry.ErrTooManyTopics}

const (
	// peerTimeout is how long a push waits for the number of its receivers in the other
	// process.
	peerTimeout = 5 * time.Second
)

func newLink(srv *Server, wire *handover.Conn) *link {
	return &link{srv: srv, wire: wire, control: make(chan handover.Message, 4), over: make(chan struct{}),
		waiting: make(map[uint64]chan<- peerReply)}
}

// run reads the stream until it ends.
func (l *link) run() {
	err := l.read()
	if err != io.EOF {
		l.wire.Write(handover.Failed, err.Error())
	}
	l.mu.Lock()
	l.err, l.waiting = err, nil
	l.mu.Unlock()
	close(l.over)
	close(l.control)
	l.wire.Close()
	l.wire.Drop()
	l.srv.unlink(l)
}

func (l *link) read() error {
	for {
		m, err := l.wire.Read()
		if err != nil {
			return err
		}
		switch m.Kind {
		case handover.Command:
			var c peerCommand
			if err := m.Decode(&c); err != nil {
				return err
			}
			l.serve(&c)
		case handover.Reply:
			var r peerReply
			if err := m.Decode(&r); err != nil {
				return err
			}
			l.mu.Lock()
			ch := l.waiting[r.ID]
			delete(l.waiting, r.ID)
			l.mu.Unlock()
			if ch != nil {
				ch <- r
			}
		case handover.Failed:
			var why string
			if err := m.Decode(&why); err != nil {
				return err
			}
			return fmt.Errorf("%w: %s", ErrHandOver, why)
		default:
			if l.handle != nil {
				err := l.handle(&m)
				m.CloseFDs()
				if err != nil {
					return err
				}
				continue
			}
			m.Payload = append([]byte(nil), m.Payload...)
			select {
			case l.control <- m:
			default:
				return fmt.Errorf("%w: unexpected %v", ErrHandOver, m.Kind)
			}
		}
	}
}

// ended returns why the stream has ended.
func (l *link) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// ask sends a command. The caller holds Server.moving for reading. It returns nil if the
// other process has ended.
func (l *link) ask(c peerCommand) <-chan peerReply {
	ch := make(chan peerReply, 1)
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return nil
	}
	l.last++
	c.ID = l.last
	l.waiting[c.ID] = ch
	l.mu.Unlock()
	if l.wire.Write(handover.Command, &c) != nil {
		l.wire.Close()
	}
	return ch
}

// wait returns the reply to a command. ok is false if the other process has ended, or does
// not answer in time.
func (l *link) wait(ch <-chan peerReply, d time.Duration) (r peerReply, ok bool) {
	if ch == nil {
		return r, false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case r = <-ch:
		return r, true
	case <-l.over:
		select {
		case r = <-ch:
			return r, true
		default:
		}
	case <-t.C:
	}
	return r, false
}

// serve executes a command of the other process, on the goroutine that reads the stream, and
// answers it. One that may wait gets a goroutine.
func (l *link) serve(c *peerCommand) {
	srv := l.srv
	switch {
	case c.Box != nil && c.Entry != nil:
		l.store(c)
	case c.Box != nil && c.Purge:
		srv.background.Go(func() {
			r := peerReply{ID: c.ID}
			if srv.store == nil {
				r.fail(ErrNoStore)
			} else if n, err := srv.store.Purge(srv.quit, store.Box(*c.Box)); err != nil {
				r.fail(err)
			} else {
				r.Offset = n
			}
			l.wire.Write(handover.Reply, &r)
		})
	case c.Command != nil:
		l.wire.Write(handover.Reply, &peerReply{ID: c.ID, Reply: srv.serveHere(c.Command)})
	default:
		l.wire.Write(handover.Reply, &peerReply{ID: c.ID, Reply: Reply{Error: "unknown command"}})
	}
}

// store stores a message for the other process. Its place in the order of its box is that
// of the command.
func (l *link) store(c *peerCommand) {
	r := peerReply{ID: c.ID}
	e := c.Entry
	p, err := l.srv.Begin(store.Box(*c.Box), Entry{Op: e.Op, Payload: e.Payload, ID: e.ID, TTL: time.Duration(e.TTL)})
	if err != nil {
		r.fail(err)
		l.wire.Write(handover.Reply, &r)
		return
	}
	l.srv.background.Go(func() {
		stored, err := p.Finish(l.srv.quit)
		r.Epoch, r.Offset, r.Reply.Count = stored.Epoch, stored.Offset, stored.Receivers
		if err != nil {
			r.fail(err)
		}
		l.wire.Write(handover.Reply, &r)
	})
}

func (r *peerReply) fail(err error) {
	r.Reply.Error = err.Error()
	for i, known := range peerFaults {
		if errors.Is(err, known) {
			r.Fault = uint8(i + 1)
			return
		}
	}
}

// err returns the error of a reply; nil if there is none.
func (r *peerReply) err() error {
	switch i := int(r.Fault) - 1; {
	case r.Reply.Error == "":
		return nil
	case i >= 0 && i < len(peerFaults):
		return fmt.Errorf("%w (in the successor: %s)", peerFaults[i], r.Reply.Error)
	}
	return errors.New(r.Reply.Error)
}

// together runs an operation on the sessions of this process and, during a handover, on
// those of the other one. It returns the sum of the sessions concerned.
func (srv *Server) together(here func() int, command func() *Command) int {
	n, l, ch := srv.besides(here, command)
	if r, ok := l.reply(ch); ok {
		n += r.Reply.Count
	}
	return n
}

// besides is together without waiting for the other process.
func (srv *Server) besides(here func() int, command func() *Command) (n int, l *link, ch <-chan peerReply) {
	srv.moving.RLock()
	defer srv.moving.RUnlock()
	n = here()
	if l = srv.peer; l != nil {
		ch = l.ask(peerCommand{Command: command()})
	}
	return n, l, ch
}

func (l *link) reply(ch <-chan peerReply) (r peerReply, ok bool) {
	if l == nil {
		return r, false
	}
	return l.wait(ch, peerTimeout)
}

// closeLink ends the stream to the other process, if there is one.
func (srv *Server) closeLink() {
	srv.moving.RLock()
	defer srv.moving.RUnlock()
	if srv.peer != nil {
		srv.peer.wire.Close()
	}
}

// unlink forgets the other process.
func (srv *Server) unlink(l *link) {
	srv.moving.Lock()
	if srv.peer == l {
		srv.peer = nil
	}
	srv.moving.Unlock()
}

// serveHere executes a command of the other process on the sessions of this one. The caller
// has their order in hand, and so moving is not held.
func (srv *Server) serveHere(c *Command) (r Reply) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("command of the other process", v)
			r = Reply{Error: "internal error"}
		}
	}()
	if err := node.Check(c, srv.cfg.MaxPayload, srv.Durable); err != nil {
		return Reply{Error: err.Error()}
	}
	var err error
	switch c.Verb {
	case VerbPush:
		r.Count = srv.pushHere(c.User, NewMessage(c.Op, c.Payload), nil)
	case VerbPublish:
		r.Count = srv.publishHere(c.Topic, NewMessage(c.Op, c.Payload), nil, nil)
	case VerbBroadcast:
		r.Count = srv.broadcastHere(NewMessage(c.Op, c.Payload), nil)
	case VerbPushMany:
		r.Count = srv.pushManyHere(c.Users, c.Topics, NewMessage(c.Op, c.Payload), nil)
	case VerbDeliver:
		r.Count = srv.deliverHere(&c.Audience, NewMessage(c.Op, c.Payload))
	case VerbStored:
		if srv.replay == nil {
			break
		}
		box, m := srv.storedMessage(c)
		r.Count = srv.announceHere(box, c.Epoch, c.Offset, c.Prev, m, srv.now())
	case VerbClose:
		r.Count = srv.disconnectHere(c.User, c.Code, c.Reason)
	case VerbSessions:
		r.Sessions = srv.sessionsHere(Target{User: c.User, Topic: c.Topic})
		r.Count = len(r.Sessions)
	case VerbSubscribers:
		r.Count = srv.users.TopicSessions(c.Topic)
	case VerbSubscribe:
		r.Count, err = srv.subscribeHere(c.User, c.Topic)
	case VerbUnsubscribe:
		r.Count = srv.unsubscribeHere(c.User, c.Topic)
	}
	if err != nil {
		r.Error = node.TooManyTopics
	}
	return r
}
