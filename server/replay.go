package server

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/fanout"
	"fanfare/server/internal/receipt"
	"fanfare/server/internal/replay"
	"fanfare/server/stats"
	"fanfare/server/store"
)

// This file joins sessions with package replay, which delivers stored messages.

func newReplay(srv *Server) *replay.Service {
	cfg := replay.Config{
		Store:               srv.store,
		Window:              srv.cfg.QueueBytes / 2,
		PositionsPerUser:    srv.cfg.PositionsPerUser,
		PositionsPerAddress: srv.cfg.PositionsPerIP,
		Receivers:           srv.receivers(),
		Delivered:           srv.traceStored,
		Acknowledged:        srv.traceAcknowledged,
		Logger:              srv.log,
	}
	if cl := srv.cluster; cl != nil {
		cfg.Sync = func(ctx context.Context, b store.Box) error { return cl.Sync(ctx, Target(b)) }
	}
	return replay.New(cfg)
}

// receivers iterates over the open sessions that have a user.
func (srv *Server) receivers() iter.Seq[replay.Receiver] {
	return func(yield func(replay.Receiver) bool) {
		var all []*Session
		srv.engine.Each(func(h netpoll.Handler) {
			if h, ok := h.(handler); ok && h.s.listed() {
				all = append(all, h.s)
			}
		})
		for _, s := range all {
			if !yield(receiver{s}) {
				return
			}
		}
	}
}

// announceHere delivers a message that was just stored to the sessions of its box on this
// node, and returns the number of receivers. If m is nil they read it from the store.
// epoch is the one that offset and prev belong to. began is when this node accepted the
// message.
func (srv *Server) announceHere(box store.Box, epoch string, offset, prev uint64, m *Message, began time.Duration) int {
	if srv.replay == nil {
		return 0
	}
	srv.history.Stored(box)
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = srv.appendTarget(*l, Target(box))
	var shared any // nil, not a nil *Message
	if m != nil {
		shared = m
	}
	notice := srv.replay.NewNotice(box, offset, prev, shared)
	notice.Epoch = epoch // the store may have another one by now
	n := fanout.CountParallel(*l, func(s *Session) bool {
		if s.phase() != open {
			return false
		}
		s.conn.Cork() // the message and the ping that follows it leave in one write
		defer s.conn.Uncork()
		return srv.replay.Notify(receiver{s}, notice)
	})
	srv.observePush(stats.ToInbox, began, n)
	return n
}

// replayAttach is called before a session opens, and before a push can find it.
func (s *Session) replayAttach(a *admission) {
	srv := s.srv()
	var topics []replay.Subscription
	for _, topic := range a.id.Topics {
		if srv.Durable(topic) {
			// Nothing is stored for a client that invents names because its identity is insecure.
			topics = append(topics, replay.Subscription{
				Topic: topic, Start: startAt(a, topic),
				Remember: !s.endpoint().Insecure,
				Exempt:   !s.endpoint().mayHaveChosen(&a.id, topic),
			})
		}
	}
	start := startAt(a, "")
	if epoch, ok := srv.replay.AttachEmpty(receiver{s}, start, len(topics)); ok {
		s.callBegin(Position{Epoch: epoch}) // before the session is open, so that no push precedes it
		return
	}
	s.state.Or(holdBit)
	srv.replay.Attach(receiver{s}, start, topics)
}

// beginUnstored calls Dialect.Begin for what the client resumes and nothing is stored of, which is
// a gap. That comes before the session is open, so that no push precedes it. replays reports whether
// the inbox begins with the answer of the store.
func (s *Session) beginUnstored(a *admission, replays bool) {
	_, resumes := a.resume[""]
	begun := !replays
	if begun {
		s.callBegin(Position{Gap: resumes})
	}
	if len(a.resume) == 0 {
		return // without garbage
	}
	for _, topic := range slices.Sorted(maps.Keys(a.resume)) {
		if topic == "" || replays && s.srv().Durable(topic) {
			continue
		}
		if !begun { // hello precedes everything else, and another one follows
			s.callBegin(Position{})
			begun = true
		}
		s.callBegin(Position{Topic: topic, Gap: true})
	}
}

// mayHaveChosen reports whether a client may have chosen the name of a topic by itself: its
// identity is insecure, or a pattern of MaySubscribe permits the name.
func (ep *endpoint) mayHaveChosen(id *Identity, topic string) bool {
	return ep.Insecure || Covers(id.MaySubscribe, topic) && !slices.Contains(id.MaySubscribe, topic)
}

// startAt returns where a client resumes a box.
func startAt(a *admission, topic string) replay.Start {
	if p, ok := a.resume[topic]; ok {
		return replay.Start{Resume: true, Epoch: p.Epoch, Offset: p.Offset}
	}
	return replay.Start{Rewind: uint16(a.rewind[topic])}
}

// replayDetach is called when a session that was attached, or open, has ended.
func (s *Session) replayDetach() {
	code := 0
	if state := s.state.Load(); state&clientCodeBit != 0 {
		code = int(state & codeMask)
	}
	s.srv().replay.Detach(receiver{s}, code)
}

// subscribeDurable subscribes to a durable topic.
func (s *Session) subscribeDurable(topic string, sub replay.Subscription) (begins, added bool, err error) {
	sub.Topic = topic
	srv := s.srv()
	begins, err = srv.replay.Subscribe(receiver{s}, sub, func() (err error) {
		added, err = s.join(topic)
		return err
	})
	if errors.Is(err, replay.ErrEnded) {
		err = ErrClosed
	}
	return begins, added, err
}

// unsubscribeDurable ends the subscription to a durable topic.
func (s *Session) unsubscribeDurable(topic string) (removed bool) {
	srv := s.srv()
	srv.replay.Unsubscribe(receiver{s}, topic, func() { removed = srv.users.Unsubscribe(s, topic) })
	return removed
}

// Acknowledge records that the client has all messages up to an offset of its inbox or,
// if topic is not empty, of a durable topic. epoch is the epoch of the message. The error
// is ErrNotSent if no such message was sent in this session, and ErrPositions if the
// position is not stored because of Config.PositionsPerUser or PositionsPerIP. An
// acknowledgement for an epoch that has ended during the session has no effect.
func (s *Session) Acknowledge(topic, epoch string, offset uint64) error {
	srv := s.srv()
	if srv.replay == nil {
		return ErrNoStore
	}
	switch err := srv.replay.Ack(receiver{s}, topic, epoch, offset); {
	case errors.Is(err, replay.ErrPositions):
		return ErrPositions
	case err != nil:
		return errors.Join(ErrNotSent, err)
	}
	s.touch()
	return nil
}

var (
	// ErrNotSent: an offset was acknowledged that the session was not sent.
	ErrNotSent = errors.New("server: no message with this offset was sent in this session")
	// ErrPositions: the user, or the client's address, has as many positions in
	// durable topics as Config.PositionsPerUser or PositionsPerIP permits.
	ErrPositions = errors.New("server: too many positions in durable topics")
)

// ponged reports whether a pong answers a ping that followed messages. That of a receipt is
// not one with another payload than that of a ping after stored messages, which may be under way.
func (s *Session) ponged(payload []byte) bool {
	if receipt.IsPing(payload) {
		return s.receiptPong(payload)
	}
	srv := s.srv()
	if srv.replay == nil || !srv.replay.Pong(receiver{s}, payload) {
		return false
	}
	s.touch()
	return true
}

// hold keeps a live message while older stored messages are being delivered. It returns
// false if they have been. A message that is held counts as queued: it is sent later or,
// if the session ends first, counted as dropped.
func (s *Session) hold(m *Message, policy netpoll.Policy) bool {
	return s.srv().replay.Hold(receiver{s}, &liveFrame{m, policy})
}

// liveFrame is a live message that waits for older stored ones.
type liveFrame struct {
	m      *Message
	policy netpoll.Policy
}

func (f *liveFrame) Len() int { return frame.HeaderSize(f.m.Len()) + f.m.Len() }

// storedFrame is the frame of a stored message.
type storedFrame frame.Prepared

// asFrame returns nil, not a nil *storedFrame, for a message that Dialect.Encode has
// panicked for.
func asFrame(p *frame.Prepared) replay.Frame {
	if p == nil {
		return nil
	}
	return (*storedFrame)(p)
}

func (f *storedFrame) Len() int { return len((*frame.Prepared)(f).Plain()) }

// receiver is a session as package replay sees it.
type receiver struct{ s *Session }

var _ replay.Receiver = receiver{}

func (r receiver) ID() uint64   { return r.s.ID() }
func (r receiver) User() string { return r.s.User() }
func (r receiver) Queued() int  { return r.s.conn.QueuedCost() }

func (r receiver) Address() netip.Addr {
	if r.s.source == nil {
		return netip.Addr{}
	}
	return r.s.source.Addr()
}

// Since is exact to a tick.
func (r receiver) Since() time.Time { return r.s.Opened() }

func (r receiver) Phase() replay.Phase {
	switch p := r.s.phase(); {
	case p < open:
		return replay.Opening
	case p == open:
		return replay.Open
	}
	return replay.Ended
}

func (r receiver) AckMode() replay.AckMode { return replay.AckMode(r.s.ackMode()) }
func (r receiver) Pings() bool             { return r.s.pingFrame(nil) != nil }

func (r receiver) Begin(b replay.Begin) {
	r.s.touch()
	r.s.callBegin(Position{Topic: b.Box.Topic, Epoch: b.Epoch, Offset: b.Offset, Gap: b.Gap})
}

func (r receiver) Encode(m *replay.Message) replay.Frame {
	shared, ok := m.Shared.(*Message)
	if ok && !m.Gap {
		return asFrame(shared.frame(r.s))
	}
	c := Content{Topic: m.Box.Topic, Epoch: m.Epoch, Offset: m.Offset, Gap: m.Gap, Op: Text}
	if ok {
		c.Op, c.Payload = shared.Op(), shared.Payload()
	} else if c.Payload = m.Stored.Payload; m.Stored.Binary {
		c.Op = Binary
	}
	return asFrame(r.s.encodeStored(c))
}

func (r receiver) Dialect() any { return r.s.dialect() }

func (r receiver) WriteStored(f replay.Frame) bool {
	s := r.s
	s.touch() // first: Keeping describes the session when its lock is free again
	if s.outcome(s.conn.Write(s.compressed((*frame.Prepared)(f.(*storedFrame))), netpoll.CloseOnFull)) != nil {
		return false
	}
	s.srv().stats.Replayed.Add(1)
	return true
}

func (r receiver) WriteLive(f replay.Frame) bool {
	live := f.(*liveFrame)
	return r.s.write(live.m, live.policy) == nil
}

func (r receiver) DropLive(replay.Frame) {
	r.s.srv().stats.HeldDropped.Add(1)
	r.s.traceDropped("the session ends before older stored messages are delivered")
}

// Ping has the policy of messages, so that what drops them drops it too.
func (r receiver) Ping(payload []byte) bool {
	b := r.s.pingFrame(payload)
	r.s.touch()
	return b != nil && r.s.outcome(r.s.conn.Write(b, netpoll.CloseOnFull)) == nil
}

func (r receiver) EndHold() { r.s.state.And(^uint32(holdBit)) }

func (r receiver) Fail(error) { r.s.end(frame.StatusInternalError, "", true) }

// markBuffer is the memory for one message with its positions.
type markBuffer struct {
	from []replay.Position
	at   []Position
	b    []byte
}

var markBuffers = sync.Pool{New: func() any { return new(markBuffer) }}

// WriteMarked implements replay.Marker. The message is copied, because the positions are
// those of this session.
func (r receiver) WriteMarked(f replay.Frame, at replay.Positions) bool {
	s := r.s
	s.touch() // first: Keeping describes the session when its lock is free again
	d, ok := s.dialect().(Stream)
	if !ok {
		return f == nil || r.WriteStored(f)
	}
	m := markBuffers.Get().(*markBuffer)
	defer func() {
		if cap(m.b) <= scratchKeep {
			markBuffers.Put(m)
		}
	}()
	m.from, m.at = at.AppendPositions(m.from[:0]), m.at[:0]
	for _, p := range m.from {
		if p.Epoch != "" {
			m.at = append(m.at, Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset})
		}
	}
	if f == nil && len(m.at) == 0 {
		return true
	}
	var encoded []byte
	if f != nil {
		encoded = (*frame.Prepared)(f.(*storedFrame)).Plain()
	}
	b := s.mark(d, m.b[:0], encoded, m.at)
	if b == nil { // Mark has panicked
		return f == nil || r.WriteStored(f)
	}
	m.b = b
	if s.outcome(s.conn.WriteBorrowed(b, netpoll.CloseOnFull)) != nil {
		return false
	}
	if f != nil {
		s.srv().stats.Replayed.Add(1)
	}
	return true
}

// mark calls Stream.Mark. Its substitute is the message without positions.
func (s *Session) mark(d Stream, b, encoded []byte, at []Position) (marked []byte) {
	defer s.logPanic("Stream.Mark")
	return d.Mark(b, encoded, s.User(), at)
}
