package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/conflate"
	"fanfare/server/internal/receipt"
	"fanfare/server/node"
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
	srv, buf := s.srv(), scratch.Get().(*[]byte)
	err := s.writeScratch(buf, frame.AppendFrame((*buf)[:0], op, payload), srv.userPolicy())
	if err == nil && srv.traces.Running() {
		s.traceDelivered(Content{Op: op, Payload: payload})
	}
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
	var err error
	if m.options != nil {
		err = s.writeWith(m, b, policy)
	} else {
		err = s.outcome(s.conn.Write(b, policy))
	}
	if err == nil && s.srv().traces.Running() {
		s.traceDelivered(m.content)
	}
	return err
}

// errEncode: the panic has been logged.
var errEncode = errors.New("server: panic in Dialect.Encode")

// scratch holds buffers in which single messages are encoded.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

const scratchKeep = 64 << 10

// writeScratch writes b, which was appended to a buffer of scratch, and returns the buffer.
func (s *Session) writeScratch(buf *[]byte, b []byte, policy netpoll.Policy) error {
	return s.outcome(s.putScratch(buf, b, policy))
}

func (s *Session) putScratch(buf *[]byte, b []byte, policy netpoll.Policy) netpoll.Outcome {
	o := s.conn.WriteBorrowed(b, policy)
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return o
}

// Errors of Session.Send, SendMessage and Reply.
var (
	// ErrClosed: the session is closed or closing.
	ErrClosed = errors.New("server: session is closed")
	// ErrSlow: the client does not read, and the session's outbound queue is full. It
	// is one of the two that follow.
	ErrSlow = errors.New("server: outbound queue is full")
	// ErrSlowClosing is ErrSlow where the session is being closed with 1013 for it.
	ErrSlowClosing = fmt.Errorf("%w: session is being closed", ErrSlow)
	// ErrSlowDropped is ErrSlow where only the message was dropped.
	ErrSlowDropped = fmt.Errorf("%w: message dropped", ErrSlow)
)

// WhenFull is a policy for a full outbound queue.
type WhenFull uint8

const (
	// FullDefault is FullClose for user pushes and FullDropOldest for topics
	// and broadcasts.
	FullDefault WhenFull = iota
	// FullClose ends the slow connection with 1013.
	FullClose
	// FullDropOldest drops the oldest messages that may be dropped.
	FullDropOldest
)

// ParseWhenFull reads "close" or "drop-oldest", for programs that take the policy from a flag
// or a file.
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "close":
		return FullClose, nil
	case "drop-oldest":
		return FullDropOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want close or drop-oldest", s)
}

func (w WhenFull) policy(def netpoll.Policy) netpoll.Policy {
	switch w {
	case FullClose:
		return netpoll.CloseOnFull
	case FullDropOldest:
		return netpoll.DropOldest
	}
	return def
}

func (srv *Server) userPolicy() netpoll.Policy {
	return srv.live().UserFull.policy(netpoll.CloseOnFull)
}

func (srv *Server) topicPolicy() netpoll.Policy {
	return srv.live().TopicFull.policy(netpoll.DropOldest)
}

// outcome turns the outcome of a write into an error. The policy was applied by queue.makeRoom in
// netpoll/queue.go; outcome closes the session if its queue is full and the policy does not
// allow to drop.
func (s *Session) outcome(o netpoll.Outcome) error {
	switch o {
	case netpoll.Written, netpoll.Queued:
		return nil
	case netpoll.Displaced:
		s.traceDropped("older messages to a slow client made room for a newer one")
		return nil
	case netpoll.Full:
		srv, queued := s.srv(), s.Queued()
		srv.stats.Slow.Add(1)
		if s.end(frame.StatusTryAgainLater, "too slow", true) {
			srv.events.slow(s, queued)
		}
		return ErrSlowClosing
	case netpoll.Dropped:
		s.traceDropped("the outbound queue of a slow client is full")
		return ErrSlowDropped
	}
	return ErrClosed
}

// This part has messages with MessageOptions: how they are written, their receipts, and what waits
// for its time.

// writeWith is Session.write for a message with options. b is its frame.
func (s *Session) writeWith(m *Message, b []byte, policy netpoll.Policy) error {
	o, srv := m.options, s.srv()
	if o.conflate != (netpoll.Key{}) && (o.interval != 0 || srv.rated.Len() > 0) {
		defer s.touch() // the message may wait
		return s.outcome(srv.rated.Offer(s, o.conflate, liveFrame{m, policy}, o.interval, srv.now()))
	}
	return s.outcome(s.put(o, b, policy))
}

// put writes the frame of a message with options.
func (s *Session) put(o *options, b []byte, policy netpoll.Policy) netpoll.Outcome {
	if o.receipt != "" {
		return s.putWithReceipt(o, b, policy)
	}
	return s.conn.WriteKeyed(b, policy, o.conflate)
}

// ErrNoReceipt: no node has a receipt with this ID. Receipts are forgotten after a while.
var ErrNoReceipt = allnodes.ErrNoReceipt

// Receipt says how many clients have received a message with MessageOptions.Receipt.
type Receipt struct {
	// Written is the number of sessions that the message was written or queued to, on all
	// nodes that have answered.
	Written int
	// Confirmed is the number of these whose client has answered the ping that follows the
	// message. A client may answer only the latest of several pings, so it is a lower bound.
	Confirmed int
	// Silent is the number of these whose dialect has no ping, such as server-sent events:
	// they are never confirmed.
	Silent int
	// Final reports that no further answer counts: a minute has passed.
	Final bool
	// P50, P95 and P99 are times that so many percent of the confirmations have not
	// exceeded, to 9 %: from writing or queueing the message to the answer. 0 if there are none.
	P50, P95, P99 time.Duration
	Coverage
}

// Receipt returns the receipt of a message, by Message.Receipt. A receipt is kept for about ten
// minutes, and a node keeps the last 1,000. The error is ErrNoReceipt.
func (srv *Server) Receipt(ctx context.Context, id string) (Receipt, error) {
	all, coverage, err := srv.nodes.Receipt(ctx, id)
	out := Receipt{Coverage: coverage}
	if err != nil {
		return out, err
	}
	out.Written, out.Confirmed, out.Silent, out.Final = all.Written, all.Confirmed, all.Silent, all.Final
	out.P50 = receipt.Quantile(all.RoundTrips, 0.5)
	out.P95 = receipt.Quantile(all.RoundTrips, 0.95)
	out.P99 = receipt.Quantile(all.RoundTrips, 0.99)
	return out, nil
}

// receiptHere executes VerbReceipt in this process.
func (srv *Server) receiptHere(id string) *node.Receipt {
	c, ok := srv.receipts.Find(id)
	if !ok {
		return nil
	}
	return &node.Receipt{Written: c.Written, Confirmed: c.Confirmed, Silent: c.Silent, Final: c.Final, RoundTrips: c.Trips}
}

// openReceipt makes the receipt of a message known before the first delivery, so that one
// without a receiver can be found, too. The deliveries go on for over, and for the interval of
// the message.
func (srv *Server) openReceipt(m *Message, over time.Duration) {
	if id := m.Receipt(); id != "" {
		srv.receipts.Open(id, srv.now(), over+m.interval())
	}
}

// putWithReceipt is put for a message with a receipt. The message and the ping that
// follows it are one write, so that what drops or replaces the message in the outbound queue
// does so with the ping.
func (s *Session) putWithReceipt(o *options, b []byte, policy netpoll.Policy) netpoll.Outcome {
	srv := s.srv()
	now := srv.now()
	r := srv.receipts.Open(o.receipt, now, 0)
	var room [receipt.PayloadSize]byte
	ping := s.pingFrame(r.AppendPing(room[:0], s.ID(), now))
	// Counted before the pong can come.
	r.Written(1, ping != nil)
	outcome := s.putBoth(o, b, ping, policy)
	if !outcome.Delivered() {
		r.Written(-1, ping != nil)
	} else if ping != nil {
		srv.stats.ReceiptPings.Add(1)
	}
	return outcome
}

// putBoth writes a message and its ping, if that is not nil.
func (s *Session) putBoth(o *options, b, ping []byte, policy netpoll.Policy) netpoll.Outcome {
	if ping == nil {
		return s.conn.WriteKeyed(b, policy, o.conflate)
	}
	if o.conflate != (netpoll.Key{}) { // queued by reference
		both := append(append(make([]byte, 0, len(b)+len(ping)), b...), ping...)
		return s.conn.WriteKeyed(both, policy, o.conflate)
	}
	buf := scratch.Get().(*[]byte)
	return s.putScratch(buf, append(append((*buf)[:0], b...), ping...), policy)
}

// receiptPong reports whether a pong confirms a receipt.
func (s *Session) receiptPong(payload []byte) bool {
	srv := s.srv()
	confirmed := srv.receipts.Pong(s.ID(), payload, srv.now())
	if confirmed {
		srv.stats.ReceiptPongs.Add(1)
	}
	return confirmed
}

// The rest of this file has messages with MessageOptions.Interval. What waits for its time is sent when a
// session is closed, and when it moves to another process, which then knows nothing of it. It
// is dropped when the client closes, or its queue is full and that closes the session.

type ratedTable = conflate.Table[*Session, liveFrame]

func newRated(srv *Server) *ratedTable {
	return conflate.NewTable(conflate.Config[*Session, liveFrame]{
		Write: func(s *Session, f liveFrame) netpoll.Outcome {
			b := s.encoded(f.m)
			if b == nil {
				return netpoll.Dropped // the panic has been logged
			}
			return s.put(f.m.options, b, f.policy)
		},
		Failed: (*Session).ratedFailed,
		Open:   func(s *Session) bool { return s.phase() == open && s.conn.CanWrite() },
		Hash:   (*Session).ID,
		Size:   func(f liveFrame) int { return frame.HeaderSize(f.m.Len()) + f.m.Len() },
		Budget: srv.cfg.QueueBytes,
	}, tick, wheelSlots)
}

// stepRated has a goroutine send the messages whose time has come. It is called every tick, and
// does nothing unless there are sessions that have received such messages of late.
func (srv *Server) stepRated() {
	if srv.rated.Len() > 0 && srv.stepping.CompareAndSwap(false, true) {
		srv.background.Go(srv.sendRated)
	}
}

func (srv *Server) sendRated() {
	defer srv.stepping.Store(false)
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("messages with an interval", v)
		}
	}()
	srv.moving.RLock() // sessions do not move meanwhile
	defer srv.moving.RUnlock()
	srv.rated.Step(srv.now())
}

// ratedFailed closes the session if its queue was full, as outcome does, and counts a message
// that came after the end of the session.
func (s *Session) ratedFailed(o netpoll.Outcome) {
	if o == netpoll.Gone {
		s.srv().stats.RatedDropped.Add(1)
		return
	}
	s.outcome(o)
}

// flushRated sends what waits.
func (s *Session) flushRated() netpoll.Outcome {
	lost, o := s.srv().rated.Flush(s)
	if lost > 0 {
		s.srv().stats.RatedDropped.Add(int64(lost))
	}
	return o
}

// dropRated gives up what waits.
func (s *Session) dropRated() {
	srv := s.srv()
	if lost := srv.rated.Drop(s); lost > 0 {
		srv.stats.RatedDropped.Add(int64(lost))
	}
}
