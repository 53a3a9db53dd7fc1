package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/internal/gate"
	"fanfare/server/node"
	"fanfare/server/store"
)

// ErrFailed: the other process of a handover has failed, or does not answer.
var ErrFailed = errors.New("server: handover")

// AnswerTimeout is how long a push waits for the number of its receivers in the other
// process.
const AnswerTimeout = 5 * time.Second

// Executor does what the other process asks for.
type Executor interface {
	// Execute executes a command on the sessions of this process. It is called by the
	// goroutine that reads the stream, and so in the order of the commands.
	Execute(c *node.Command) node.Reply
	// Begin takes the place of an entry in the order of its box. It is called like Execute;
	// finish, which waits until the entry is stored and sent, has a goroutine of its own.
	Begin(b store.Box, e store.Entry) (finish func() (gate.Stored, error), err error)
	// Purge deletes the stored messages of a box. It has a goroutine of its own.
	Purge(b store.Box) (uint64, error)
}

// LinkConfig is what a Link needs of its process.
type LinkConfig struct {
	Executor Executor
	Go       func(func())  // starts a goroutine
	Faults   []error       // errors that callers test for; the same in both processes
	Ended    func(l *Link) // is called when the stream has ended
}

// Link is the connection to the other process of a handover. What is pushed in one of them
// is sent to the other one, too, in the order in which sessions move:
//
//	the session is                       the push reaches it
//	in this process                      here; the other process does not have it
//	in this process, when a round        after the round: pushes hold the host's lock for
//	  begins before the push             reading, a round holds it for writing
//	in the other one                     there: its Commit is on the stream before the Command
//	given back by a round that failed    here: the round has held the lock
//
// A push of the taker waits until all sessions have moved: the taker holds its lock meanwhile.
// So a session gets each push once, and those of one goroutine in their order, since the
// goroutine that reads the stream executes commands by itself.
type Link struct {
	cfg  LinkConfig
	wire *Conn

	// handle is called for everything but Command and Reply, by the goroutine that reads the
	// stream; nil: control has them.
	handle  func(*Message) error
	control chan Message  // closed at the end
	over    chan struct{} // closed at the end of the stream

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- answer // guarded by mu; nil: the stream has ended
	err     error                    // why the stream has ended; guarded by mu
}

// call is the payload of Command: a command, a message to store, or a box to purge.
type call struct {
	ID      uint64        `json:"id"`
	Command *node.Command `json:"command,omitzero"`
	Box     *store.Box    `json:"box,omitzero"`
	Entry   *entry        `json:"entry,omitzero"`
	Purge   bool          `json:"purge,omitzero"`
}

// entry is a store.Entry.
type entry struct {
	Op      node.Op `json:"op"`
	Payload []byte  `json:"payload"`
	ID      string  `json:"id,omitzero"`
	TTL     int64   `json:"ttl,omitzero"` // nanoseconds
}

// answer is the payload of Reply.
type answer struct {
	ID     uint64     `json:"id"`
	Reply  node.Reply `json:"reply"`
	Epoch  string     `json:"epoch,omitzero"`
	Offset uint64     `json:"offset,omitzero"`
	Fault  uint8      `json:"fault,omitzero"` // index in LinkConfig.Faults, from 1 on
}

// NewLink returns a Link on a stream. Its owner starts Run.
func NewLink(wire *Conn, cfg LinkConfig) *Link {
	return &Link{cfg: cfg, wire: wire, control: make(chan Message, 4), over: make(chan struct{}), waiting: make(map[uint64]chan<- answer)}
}

// Run reads the stream until it ends.
func (l *Link) Run() {
	err := l.read()
	if err != io.EOF {
		l.wire.Write(Failed, err.Error())
	}
	l.mu.Lock()
	l.err, l.waiting = err, nil
	l.mu.Unlock()
	close(l.over)
	close(l.control)
	l.wire.Close()
	l.wire.Drop()
	l.cfg.Ended(l)
}

// Close ends the stream.
func (l *Link) Close() { l.wire.Close() }

// ended returns why the stream has ended.
func (l *Link) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Link) read() error {
	for {
		m, err := l.wire.Read()
		if err != nil {
			return err
		}
		switch m.Kind {
		case Command:
			var c call
			if err := m.Decode(&c); err != nil {
				return err
			}
			l.serve(&c)
		case Reply:
			var r answer
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
		case Failed:
			var why string
			if err := m.Decode(&why); err != nil {
				return err
			}
			return fmt.Errorf("%w: %s", ErrFailed, why)
		default:
			if err := l.other(&m); err != nil {
				return err
			}
		}
	}
}

// other handles a message of the handover itself.
func (l *Link) other(m *Message) error {
	if l.handle != nil {
		err := l.handle(m)
		m.CloseFDs()
		return err
	}
	m.Payload = append([]byte(nil), m.Payload...)
	select {
	case l.control <- *m:
		return nil
	default:
		return fmt.Errorf("%w: unexpected %v", ErrFailed, m.Kind)
	}
}

// Asked is a command that the other process has not answered yet. It has no Link, whose methods
// would be linked into each program that pushes.
type Asked struct {
	over <-chan struct{} // closed at the end of the stream
	ch   <-chan answer   // nil: the other process had ended
}

// Ask sends a command. The caller holds the lock of its host for reading.
func (l *Link) Ask(c *node.Command) Asked { return l.ask(call{Command: c}) }

func (l *Link) ask(c call) Asked {
	ch := make(chan answer, 1)
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return Asked{}
	}
	l.last++
	c.ID = l.last
	l.waiting[c.ID] = ch
	l.mu.Unlock()
	if l.wire.Write(Command, &c) != nil {
		l.wire.Close()
	}
	return Asked{l.over, ch}
}

// Wait returns the reply to a command. ok is false if nothing was asked, and if the other
// process has ended or does not answer in time.
func (a Asked) Wait() (r node.Reply, ok bool) {
	got, ok := a.wait(AnswerTimeout)
	return got.Reply, ok
}

func (a Asked) wait(d time.Duration) (r answer, ok bool) {
	if a.ch == nil {
		return r, false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case r = <-a.ch:
		return r, true
	case <-a.over:
		select {
		case r = <-a.ch:
			return r, true
		default:
		}
	case <-t.C:
	}
	return r, false
}

// Begin implements gate.Successor: the other process stores the entry.
func (l *Link) Begin(b store.Box, e store.Entry) (finish func() (gate.Stored, error)) {
	op := ws.OpText
	if e.Binary {
		op = ws.OpBinary
	}
	asked := l.ask(call{Box: &b, Entry: &entry{op, e.Payload, e.ID, int64(e.TTL)}})
	return func() (gate.Stored, error) {
		r, ok := asked.wait(AnswerTimeout)
		if !ok {
			return gate.Stored{}, gate.ErrMoved
		}
		return gate.Stored{Moved: true, Receivers: r.Reply.Count, Epoch: r.Epoch, Receipt: store.Receipt{Offset: r.Offset}}, l.fault(&r)
	}
}

// Purge implements gate.Successor.
func (l *Link) Purge(b store.Box) (uint64, error) {
	r, ok := l.ask(call{Box: &b, Purge: true}).wait(AnswerTimeout)
	if !ok {
		return 0, gate.ErrMoved
	}
	return r.Offset, l.fault(&r)
}

// serve does what the other process asks for, on the goroutine that reads the stream, and
// answers. What may wait gets a goroutine.
func (l *Link) serve(c *call) {
	switch {
	case c.Box != nil && c.Entry != nil:
		e := c.Entry
		finish, err := l.cfg.Executor.Begin(*c.Box, store.Entry{Binary: e.Op == ws.OpBinary, Payload: e.Payload, ID: e.ID, TTL: time.Duration(e.TTL)})
		if err != nil {
			l.answer(&answer{ID: c.ID}, err)
			return
		}
		l.cfg.Go(func() {
			st, err := finish()
			l.answer(&answer{ID: c.ID, Epoch: st.Epoch, Offset: st.Offset, Reply: node.Reply{Count: st.Receivers}}, err)
		})
	case c.Box != nil && c.Purge:
		l.cfg.Go(func() {
			n, err := l.cfg.Executor.Purge(*c.Box)
			l.answer(&answer{ID: c.ID, Offset: n}, err)
		})
	case c.Command != nil:
		l.answer(&answer{ID: c.ID, Reply: l.cfg.Executor.Execute(c.Command)}, nil)
	default:
		l.answer(&answer{ID: c.ID, Reply: node.Reply{Error: "unknown command"}}, nil)
	}
}

// answer sends a reply, which says what has failed.
func (l *Link) answer(r *answer, err error) {
	if err != nil {
		r.Reply.Error = err.Error()
		for i, known := range l.cfg.Faults {
			if errors.Is(err, known) {
				r.Fault = uint8(i + 1)
				break
			}
		}
	}
	l.wire.Write(Reply, r)
}

// fault returns the error of a reply; nil if there is none.
func (l *Link) fault(r *answer) error {
	switch i := int(r.Fault) - 1; {
	case r.Reply.Error == "":
		return nil
	case i >= 0 && i < len(l.cfg.Faults):
		return fmt.Errorf("%w (in the successor: %s)", l.cfg.Faults[i], r.Reply.Error)
	}
	return errors.New(r.Reply.Error)
}

// send sends a message of the handover itself.
func (l *Link) send(kind Kind, v any, fds ...int) error {
	if err := l.wire.Write(kind, v, fds...); err != nil {
		if why := l.ended(); why != nil {
			err = why
		}
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

// expect waits for a message of the handover itself.
func (l *Link) expect(ctx context.Context, kind Kind, v any, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case m, ok := <-l.control:
		switch {
		case !ok:
			return fmt.Errorf("%w: the other process has ended instead of answering %v: %w", ErrFailed, kind, l.ended())
		case m.Kind != kind:
			return fmt.Errorf("%w: %v instead of %v", ErrFailed, m.Kind, kind)
		case v == nil:
			return nil
		}
		return m.Decode(v)
	case <-t.C:
		return fmt.Errorf("%w: no %v within %v", ErrFailed, kind, d)
	case <-ctx.Done():
		return fmt.Errorf("%w: no %v: %w", ErrFailed, kind, ctx.Err())
	}
}
