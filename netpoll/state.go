package netpoll

import (
	"errors"
	"fmt"
	"math"
	"net"
	"unique"
)

// State is a connection at rest, without its descriptor and its Layer. It can be encoded
// as JSON.
type State struct {
	ID     uint64   `json:"id"`
	Ending Endings  `json:"ending,omitzero"`
	Queue  []Unsent `json:"queue,omitzero"` // the outbound queue
	Begun  bool     `json:"begun,omitzero"` // a part of the first message is sent already
	// Of a connection with a Layer: sealed bytes, which precede the queue, and the number of
	// messages that end in them.
	Sealed         []byte `json:"sealed,omitzero"`
	SealedMessages int    `json:"sealed_messages,omitzero"`
	// Unread are bytes that were received and that Handler.Data has not consumed.
	Unread []byte `json:"unread,omitzero"`
}

// Unsent are messages in an outbound queue.
type Unsent struct {
	Bytes    []byte `json:"bytes"`
	Policy   Policy `json:"policy,omitzero"`
	Messages uint32 `json:"messages,omitzero"` // in Bytes; 0: one
	Key      string `json:"key,omitzero"`      // see Conn.WriteKeyed
}

// Endings say how far the end of a connection has come.
type Endings uint8

// The bits of Endings.
const (
	EndSealed       Endings = 1 << iota // nothing may be written any more
	EndCloseFlushed                     // the connection closes when the queue is empty
	EndHalfClose                        // the sending side is shut down when the queue is empty
	EndHalfClosed                       // it is shut down
	EndLayer                            // the Layer has sealed the end of the stream
	EndBegins                           // the first unused bit
)

var endings = [...]struct {
	bit  Endings
	flag uint32
}{
	{EndSealed, flagSealed},
	{EndCloseFlushed, flagCloseFlushed},
	{EndHalfClose, flagHalfClose},
	{EndHalfClosed, flagHalfClosed},
	{EndLayer, flagEndSealed},
}

// Export returns the state of a frozen connection, which nothing can be written to until
// Thaw. It returns false if the connection is to be closed.
func (c *Conn) Export() (st State, ok bool) {
	if c.has(flagLeftover) {
		st.Unread = append(st.Unread, c.engine.leftovers.look(c)...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasLocked(flagClosing | flagReleased | flagBroken | flagCut) {
		return State{}, false
	}
	c.setLocked(flagExported)
	st.ID = uint64(c.gen)
	for _, e := range endings {
		if c.hasLocked(e.flag) {
			st.Ending |= e.bit
		}
	}
	if c.out != nil {
		c.out.export(&st)
	}
	return st, true
}

// export copies the queue, because its memory may be reused.
func (q *queue) export(st *State) {
	st.Begun = q.off > 0 && q.head < len(q.entries)
	for i := q.head; i < len(q.entries); i++ {
		e := &q.entries[i]
		b := e.b
		if i == q.head {
			b = b[q.off:]
		}
		u := Unsent{Bytes: append([]byte(nil), b...), Policy: e.policy, Messages: uint32(e.messages)}
		if e.slot != 0 {
			u.Key = q.keyed.places[e.slot].key.Value()
		}
		st.Queue = append(st.Queue, u)
	}
	st.Sealed = append(st.Sealed, q.wire...)
	st.SealedMessages = q.wireMessages
}

// check returns an error if no Export has returned the state.
func (st *State) check() error {
	switch {
	case st.ID == 0 || st.ID != uint64(uint32(st.ID)):
		return fmt.Errorf("netpoll: connection with the ID %d", st.ID)
	case st.Ending >= EndBegins:
		return fmt.Errorf("netpoll: unknown endings %#x", st.Ending)
	case st.Begun && len(st.Queue) == 0, st.SealedMessages < 0:
		return errors.New("netpoll: inconsistent outbound queue")
	}
	for _, e := range st.Queue {
		if e.Policy > DropOldest || len(e.Bytes) == 0 {
			return fmt.Errorf("netpoll: message of %d bytes with the policy %d in the outbound queue", len(e.Bytes), e.Policy)
		}
	}
	return nil
}

// restore is the reverse of export. The memory of st belongs to the queue.
func (q *queue) restore(st *State) {
	for i, e := range st.Queue {
		b := e.Bytes
		if i == 0 && st.Begun {
			// What has begun is never dropped: begun goes by off.
			b = append(make([]byte, 1, 1+len(b)), b...)
			q.off = 1
		}
		q.resize(len(e.Bytes))
		q.entries = append(q.entries, entry{b: b, policy: e.Policy, messages: uint16(min(max(e.Messages, 1), math.MaxUint16))})
		if e.Key != "" && e.Policy != Control {
			q.note(unique.Make(e.Key))
		}
	}
	if len(st.Sealed) > 0 {
		q.addWire(st.Sealed)
		q.wireMessages = st.SealedMessages
	}
}

// Import makes c a connection that another engine has exported. Nothing is received or sent
// before Start. c belongs to h; l is its Layer, nil if none. The descriptor belongs to the
// engine unless there is an error.
func (e *Engine) Import(fd int, c *Conn, h Handler, l Layer, st *State) error {
	if err := st.check(); err != nil {
		return err
	}
	switch {
	case e.poller == nil:
		return fmt.Errorf("netpoll: transport %v: %w", e.transport, errors.ErrUnsupported)
	case l != nil && e.readBuffer < minLayerBuffer:
		return fmt.Errorf("netpoll: Config.ReadBuffer is %d: a layer needs at least %d", e.readBuffer, minLayerBuffer)
	case !isStreamSocket(fd):
		return errors.New("netpoll: the descriptor is not a stream socket")
	}
	c.turn.hold()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.engine, c.fd, c.gen = h, e, int32(fd), uint32(st.ID)
	c.clearMark()
	if l != nil {
		c.via = &Via{layer: l}
	}
	for _, end := range endings {
		if st.Ending&end.bit != 0 {
			c.setLocked(end.flag)
		}
	}
	// The queue exists, and is corked, until Start: so that what is written meanwhile
	// follows it.
	c.newQueueLocked()
	c.out.restore(st)
	c.setLocked(flagImported)
	return nil
}

// Start begins to serve a connection that was imported. unread is State.Unread. It
// returns an error, and has called Handler.Close, if the connection cannot be watched.
func (c *Conn) Start(unread []byte) error {
	e := c.engine
	e.table.put(c.fd, c)
	e.stats.opened.Add(1)
	err := net.ErrClosed
	if !e.closing.Load() {
		err = e.poller.Add(int(c.fd), c.gen)
	}
	c.mu.Lock()
	c.clearLocked(flagImported)
	over := err == nil && c.flushLocked()
	c.mu.Unlock()
	if err != nil {
		c.release(err)
		return err
	}
	if over {
		c.finishImport()
		return nil
	}
	for len(unread) > 0 && !c.has(flagClosing|flagReleased) {
		unread = unread[c.data(unread):]
		if len(unread) > 0 && e.keepLeftover(c, unread) {
			break
		}
	}
	c.finishImport()
	return nil
}

func (c *Conn) finishImport() {
	c.turn.move(moveReady, Readable|Writable|Hangup)
	c.engine.finish(c)
}

// Discard gives up a connection that was imported and not started: the other engine keeps
// it. The Handler is not called.
func (c *Conn) Discard() {
	c.mu.Lock()
	c.setLocked(flagSealed | flagReleased)
	if c.out != nil {
		c.freeQueueLocked()
	}
	c.mu.Unlock()
	if l := c.layer(); l != nil {
		l.Release()
	}
	closeFD(int(c.fd))
	c.turn.move(moveEnd, 0)
}
