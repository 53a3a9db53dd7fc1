package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/audience"
)

// Send sends a message. It never blocks: what the client does not read is queued, and
// payload is copied where it must be kept. A Text payload must be UTF-8. The error is
// ErrClosed, ErrSlowClosing or ErrSlowDropped.
func (s *Session) Send(op Op, payload []byte) error {
	state := s.state.Load()
	if phaseOf(state) != open {
		return ErrClosed
	}
	if state&(windowMask<<windowShift|holdBit) != 0 || !s.raw() {
		return s.SendMessage(NewMessage(op, payload))
	}
	buf := scratch.Get().(*[]byte)
	b := frame.AppendFrame((*buf)[:0], op, payload)
	err := s.outcome(s.conn.WriteBorrowed(b, s.srv().userPolicy()))
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return err
}

// SendMessage is Send for a message with several receivers.
func (s *Session) SendMessage(m *Message) error {
	return s.deliver(m, s.srv().userPolicy())
}

// Reply sends a frame as it is, in the session's dialect. Unlike a message it does
// not wait for stored messages that are on their way to the session.
func (s *Session) Reply(p *frame.Prepared) error {
	// Dialect.Begin may precede the phase open; the frame then follows the answer to the
	// handshake.
	if now := s.phase(); now < deciding || now > open {
		return ErrClosed
	}
	return s.outcome(s.conn.Write(s.compressed(p), s.srv().userPolicy()))
}

func (s *Session) deliver(m *Message, policy netpoll.Policy) error {
	state := s.state.Load()
	if phaseOf(state) != open {
		return ErrClosed
	}
	if state&holdBit != 0 && s.hold(m, policy) {
		return nil
	}
	return s.write(m, policy)
}

// write is deliver for a message that is not held.
func (s *Session) write(m *Message, policy netpoll.Policy) error {
	b := s.encoded(m)
	if b == nil {
		return errEncode
	}
	return s.outcome(s.conn.Write(b, policy))
}

// errEncode: the panic has been logged.
var errEncode = errors.New("server: panic in Dialect.Encode")

// scratch holds buffers in which single messages are encoded.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

const scratchKeep = 64 << 10

// Delivery reports how many sessions a message has reached.
type Delivery struct {
	// Receivers is the number of sessions that the message was written or queued
	// to, on all nodes that answered.
	Receivers int
	// Coverage says whether Receivers counts every node. The sessions of a node
	// that is missing may have received the message.
	Coverage
}

// Push sends a message to all sessions of a user, on all nodes of the cluster. It
// returns when the local sessions have it written or queued and the other nodes
// concerned have answered, or half a second has passed.
func (srv *Server) Push(ctx context.Context, user string, m *Message) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	if srv.cluster == nil { // here and below: a node that is alone makes no Command
		return Delivery{Receivers: srv.pushLocal(user, m)}, nil
	}
	return srv.deliver(ctx, Target{User: user}, &Command{Verb: VerbPush, User: user, Op: m.Op(), Payload: m.Payload()},
		func() int { return srv.pushLocal(user, m) })
}

// Publish sends a message to all sessions that subscribe to a topic, as Push does.
// Publish stores nothing, even if the topic is durable: see PublishStored.
func (srv *Server) Publish(ctx context.Context, topic string, m *Message) (Delivery, error) {
	return srv.publish(ctx, topic, m, nil)
}

// PublishExcept is Publish for all subscribers but one: the session that caused
// the message, for example. It may be a session of another node.
func (srv *Server) PublishExcept(ctx context.Context, topic string, m *Message, except *Session) (Delivery, error) {
	return srv.publish(ctx, topic, m, except)
}

func (srv *Server) publish(ctx context.Context, topic string, m *Message, except *Session) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	if srv.cluster == nil {
		return Delivery{Receivers: srv.publishLocal(topic, m, except)}, nil
	}
	c := &Command{Verb: VerbPublish, Topic: topic, Op: m.Op(), Payload: m.Payload()}
	if except != nil && except.srv() != srv { // else the other nodes do not have it
		c.Except = except.fullID()
	}
	return srv.deliver(ctx, Target{Topic: topic}, c, func() int { return srv.publishLocal(topic, m, except) })
}

// Broadcast sends a message to every session that has a user, as Push does.
func (srv *Server) Broadcast(ctx context.Context, m *Message) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	if srv.cluster == nil {
		return Delivery{Receivers: srv.broadcastLocal(m)}, nil
	}
	return srv.deliver(ctx, Target{}, &Command{Verb: VerbBroadcast, Op: m.Op(), Payload: m.Payload()},
		func() int { return srv.broadcastLocal(m) })
}

// PushMany sends a message to the sessions of several users and the subscribers of
// several topics. A session matched more than once receives the message once: as a
// message for its user, whose policy for a full queue is the stricter one.
func (srv *Server) PushMany(ctx context.Context, users, topics []string, m *Message) (Delivery, error) {
	if err := srv.fits(m); err != nil {
		return Delivery{}, err
	}
	if srv.cluster == nil {
		return Delivery{Receivers: srv.pushManyLocal(users, topics, m)}, nil
	}
	c := &Command{Verb: VerbPushMany, Users: users, Topics: topics, Op: m.Op(), Payload: m.Payload()}
	return srv.deliver(ctx, Target{}, c, func() int { return srv.pushManyLocal(users, topics, m) })
}

// The functions with names in Local concern the sessions of this process and, during a handover,
// those of the other one. Those with names in Here concern this process alone.

func (srv *Server) pushLocal(user string, m *Message) int {
	return srv.together(func() int { return srv.pushHere(user, m, nil) },
		func() *Command { return &Command{Verb: VerbPush, User: user, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) publishLocal(topic string, m *Message, except *Session) int {
	return srv.together(func() int { return srv.publishHere(topic, m, except, nil) },
		func() *Command { return &Command{Verb: VerbPublish, Topic: topic, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) broadcastLocal(m *Message) int {
	return srv.together(func() int { return srv.broadcastHere(m, nil) },
		func() *Command { return &Command{Verb: VerbBroadcast, Op: m.Op(), Payload: m.Payload()} })
}

func (srv *Server) pushManyLocal(users, topics []string, m *Message) int {
	return srv.together(func() int { return srv.pushManyHere(users, topics, m, nil) }, func() *Command {
		return &Command{Verb: VerbPushMany, Users: users, Topics: topics, Op: m.Op(), Payload: m.Payload()}
	})
}

func (srv *Server) deliverLocal(to *Audience, m *Message) int {
	return srv.together(func() int { return srv.deliverHere(to, m) },
		func() *Command { return &Command{Verb: VerbDeliver, Audience: *to, Op: m.Op(), Payload: m.Payload()} })
}

// fits returns an error if a message is too long to be pushed.
func (srv *Server) fits(m *Message) error {
	if m.Len() > srv.cfg.MaxPayload {
		return fmt.Errorf("%w: %d bytes, Config.MaxPayload is %d", ErrTooBig, m.Len(), srv.cfg.MaxPayload)
	}
	return nil
}

// deliver sends a message here and to the other nodes.
func (srv *Server) deliver(ctx context.Context, t Target, c *Command, local func() int) (Delivery, error) {
	n, answer, err := srv.onAllNodes(ctx, t, c, local)
	return Delivery{n, answer.Coverage}, err
}

// lists holds slices of receivers.
var lists = sync.Pool{New: func() any { l := make([]*Session, 0, 256); return &l }}

const listKeep = 1 << 16

func putList(l *[]*Session) {
	clear(*l)
	if cap(*l) <= listKeep {
		*l = (*l)[:0]
		lists.Put(l)
	}
}

func (srv *Server) pushHere(user string, m *Message, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = keepSelected(sel, srv.users.AppendUser(*l, user))
	n := deliverAll(*l, m, srv.userPolicy())
	srv.stats.pushed.Add(int64(n))
	srv.observePush(toUser, began, n)
	return n
}

func (srv *Server) publishHere(topic string, m *Message, except *Session, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = keepSelected(sel, srv.users.AppendTopic(*l, topic))
	if except != nil {
		*l = without(*l, except)
	}
	n := deliverMany(*l, m, srv.topicPolicy())
	srv.stats.published.Add(int64(n))
	srv.observePush(toTopic, began, n)
	return n
}

// without removes s from a list whose order does not matter.
func without(list []*Session, s *Session) []*Session {
	for i := range list {
		if list[i] == s {
			last := len(list) - 1
			list[i], list[last] = list[last], nil
			return list[:last]
		}
	}
	return list
}

// broadcastHere walks the engine's connections, not the registry: see
// netpoll.Engine.EachOf.
func (srv *Server) broadcastHere(m *Message, sel *audience.Selection) int {
	began, policy := srv.now(), srv.topicPolicy()
	n := inParallel(srv.engine.Portions(), srv.Count(), func(i int) int {
		n := 0
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if h, ok := h.(handler); ok && h.s.listed() && selected(sel, h.s) && h.s.deliver(m, policy) == nil {
				n++
			}
		})
		return n
	})
	srv.stats.broadcast.Add(int64(n))
	srv.observePush(toAll, began, n)
	return n
}

func (srv *Server) pushManyHere(users, topics []string, m *Message, sel *audience.Selection) int {
	began := srv.now()
	l := lists.Get().(*[]*Session)
	defer putList(l)
	all := *l
	for _, user := range users {
		all = srv.users.AppendUser(all, user)
	}
	seen := make(map[*Session]struct{}, len(all))
	all = keepSelected(sel, unseen(all, seen))
	split := len(all)
	for _, topic := range topics {
		from := len(all)
		all = srv.users.AppendTopic(all, topic)
		all = all[:from+len(keepSelected(sel, unseen(all[from:], seen)))]
	}
	*l = all
	pushed := deliverMany(all[:split], m, srv.userPolicy())
	published := deliverMany(all[split:], m, srv.topicPolicy())
	srv.stats.pushed.Add(int64(pushed))
	srv.stats.published.Add(int64(published))
	srv.observePush(toSeveral, began, pushed+published)
	return pushed + published
}

// unseen removes from a list, in place, the sessions that are in seen, and adds the others
// to seen.
func unseen(list []*Session, seen map[*Session]struct{}) []*Session {
	kept := list[:0]
	for _, s := range list {
		if _, was := seen[s]; !was {
			seen[s] = struct{}{}
			kept = append(kept, s)
		}
	}
	clear(list[len(kept):]) // they go back to a pool
	return kept
}

// portion is how many receivers are served before reads and heartbeats get
// a chance to run: 64 writes are about 0.4 ms.
const portion = 64

// deliverMany is deliverAll in portions, in parallel if there are enough receivers.
func deliverMany(to []*Session, m *Message, policy netpoll.Policy) int {
	portions := (len(to) + portion - 1) / portion
	return inParallel(portions, len(to), func(i int) int {
		return deliverAll(to[i*portion:min((i+1)*portion, len(to))], m, policy)
	})
}

func deliverAll(to []*Session, m *Message, policy netpoll.Policy) (n int) {
	for i, s := range to {
		if s.deliver(m, policy) == nil {
			n++
		}
		if i%portion == portion-1 {
			runtime.Gosched()
		}
	}
	return n
}

// minParallel is how many receivers justify a further goroutine: below it,
// starting one costs more than it saves.
const minParallel = 256

// countAll calls f for all connections, in parallel, and returns for how many it is true.
func (srv *Server) countAll(f func(netpoll.Handler) bool) int {
	return inParallel(srv.engine.Portions(), srv.Count(), func(i int) (n int) {
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if f(h) {
				n++
			}
		})
		return n
	})
}

// inParallel calls part for 0 to parts-1 and adds up what it returns, on as many
// goroutines as there are cores, if there are receivers enough for them.
func inParallel(parts, receivers int, part func(i int) int) int {
	workers := min(runtime.GOMAXPROCS(0), receivers/minParallel, parts)
	var next, total atomic.Int64
	run := func() {
		n := 0
		for i := int(next.Add(1)) - 1; i < parts; i = int(next.Add(1)) - 1 {
			n += part(i)
			runtime.Gosched()
		}
		total.Add(int64(n))
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[string]
	for range workers - 1 {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					text := fmt.Sprintf("%v\n\n%s", v, debug.Stack())
					failed.Store(&text)
				}
			}()
			run()
		})
	}
	run()
	wg.Wait()
	if text := failed.Load(); text != nil {
		panic(*text) // on the caller's goroutine, which can recover
	}
	return int(total.Load())
}
