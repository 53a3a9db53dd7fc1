package server

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/limit"
)

// Op is the kind of a message, RFC 6455 section 5.6.
type Op = ws.OpCode

// Text and Binary messages.
//
// Text must be UTF-8. What clients send is checked; what is sent to them is not, so
// that is up to the caller: a client must fail the connection at text that is not
// (RFC 6455, 8.1), and browsers do, with 1007. Send as Binary what may be anything.
const (
	Text   = ws.OpText
	Binary = ws.OpBinary
)

// Code is a close code, RFC 6455 section 7.4.
type Code = ws.StatusCode

// Errors of Send.
var (
	// ErrClosed: the session is closed or closing.
	ErrClosed = errors.New("server: session is closed")
	// ErrSlow: the client does not read and its queue is full; the session is
	// being closed with 1013, or the message was dropped, as the policy says.
	ErrSlow = errors.New("server: session's queue is full")
)

// Session is one client: its connection, its identity and its timer. An idle
// one is this struct and its name, nothing else: no goroutine, no buffer. What a
// broadcast and an echo look at stands in front, in two cache lines.
type Session struct {
	conn  netpoll.Conn              // 64 bytes
	state atomic.Uint32             // close code: bits 0–15, phase: 16–23, client's deflate window: 24–27, fanfare.v1: 28, held: 29
	heard atomic.Uint32             // when bytes came last, in ticks
	entry registry.Entry[*Session]  // its place under user and topics
	timer registry.Timer[*Session]  // one for handshake, heartbeat and close
	ep    atomic.Pointer[endpoint]  // the lobby until the request named its path
	ext   atomic.Pointer[extension] // what few sessions need; nil: none of it

	// Owned by the read turn.
	dec    frame.Decoder
	source *limit.Source // nil: loopback, or unknown

	// Atomic. Times are ticks of the server's clock.
	opened uint32        // immutable once open
	pinged atomic.Uint32 // when a ping went out last; owned by the wheel
}

// Where the registry and the wheels find their fields.
func entryOf(s *Session) *registry.Entry[*Session]        { return &s.entry }
func timerOf(s *Session) *registry.Timer[*Session]        { return &s.timer }
func appTimerOf(x *extension) *registry.Timer[*extension] { return &x.timer }

func (s *Session) endpoint() *endpoint { return s.ep.Load() }
func (s *Session) srv() *Server        { return s.ep.Load().srv }

// A session's phase only grows. The code is that of whoever ended it first, and
// is set by the same step.
type phase uint32

const (
	shaking   phase = iota // gathering the request
	answering              // it is complete, and in the hands of who holds the turn
	open                   // messages flow
	closing                // our close frame is out, theirs is awaited
	lingering              // all is said; the peer is to end the stream
	over                   // the connection is gone
)

func (s *Session) phase() phase    { return phase(s.state.Load() >> 16 & 0xff) }
func (s *Session) closeCode() Code { return Code(s.state.Load() & 0xffff) }

// enter moves the session on to a later phase, and notes the code if none is.
// It reports false if the session was there or further already.
func (s *Session) enter(next phase, code Code) bool {
	for {
		old := s.state.Load()
		if phase(old>>16&0xff) >= next {
			return false
		}
		word := uint32(next)<<16 | old&^0xff0000
		if old&0xffff == 0 {
			word |= uint32(code)
		}
		if s.state.CompareAndSwap(old, word) {
			return true
		}
	}
}

// extension is what few sessions need.
type extension struct {
	session *Session
	shake   *handshake // while the request comes in pieces; owned by the read turn
	timer   registry.Timer[*extension]
	reason  string        // of the close; owned by the read turn
	follows []string      // may be, when a client of fanfare.v1 asks; immutable once open
	adopted *adoption     // until Open has opened the session; owned by the read turn
	over    chan struct{} // closed when the connection is gone; immutable, nil if nobody waits

	meter     limit.Meter // of what the client sends; owned by the read turn
	discarded int         // bytes that came while lingering; owned by the read turn

	mu       sync.Mutex
	data     any    // guarded by mu
	protocol string // immutable once open
	expires  uint32 // tick at which the identity does, 0 for never; immutable once open
}

func (s *Session) extend() *extension {
	if x := s.ext.Load(); x != nil {
		return x
	}
	s.ext.CompareAndSwap(nil, &extension{session: s})
	return s.ext.Load()
}

// listed tells whether the session is open and in the registry. The user is
// written before the phase, and so may be read behind it.
func (s *Session) listed() bool { return s.phase() == open && s.entry.User() != "" }

// User is who the session belongs to, empty if nobody.
func (s *Session) User() string { return s.entry.User() }

// ID tells sessions of one server apart.
func (s *Session) ID() uint64 { return s.conn.ID() }

// Protocol is the sub-protocol that was chosen, empty if none.
func (s *Session) Protocol() string {
	if x := s.ext.Load(); x != nil {
		return x.protocol
	}
	return ""
}

// Topics that the session follows.
func (s *Session) Topics() []string { return s.srv().users.AppendTopics(nil, s) }

// RemoteAddr is the peer's address; the zero AddrPort for a Unix socket or when
// the connection is gone.
func (s *Session) RemoteAddr() netip.AddrPort { return s.conn.RemoteAddr() }

// Opened tells when the handshake was completed, as coarse as a tick.
func (s *Session) Opened() time.Time {
	return s.srv().started.Add(time.Duration(s.opened) * tick)
}

// Queued is the number of bytes that wait for the client to read.
func (s *Session) Queued() int { return s.conn.Queued() }

// Data is what SetData or Identity.Data left.
func (s *Session) Data() any {
	x := s.ext.Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.data
}

// SetData keeps v with the session.
func (s *Session) SetData(v any) {
	x := s.extend()
	x.mu.Lock()
	x.data = v
	x.mu.Unlock()
}

// Subscribe makes the session follow a topic. It is an error if the name is
// malformed, the session follows too many, or is closed.
func (s *Session) Subscribe(topic string) error {
	if err := registry.CheckName(topic); err != nil {
		return err
	}
	srv := s.srv()
	_, err := srv.users.Subscribe(s, topic)
	if err == nil {
		srv.nodes.follow(topic)
		if srv.keeps(topic) {
			srv.unread.follow(s, topic, 0, false)
		}
	}
	return err
}

// Unsubscribe reports whether the session followed the topic. How far it came in a
// durable one is kept, for the time when it follows again.
func (s *Session) Unsubscribe(topic string) bool {
	srv := s.srv()
	if srv.keeps(topic) {
		srv.unread.unfollow(s, topic)
	}
	return srv.users.Unsubscribe(s, topic)
}

// SetTimer calls Hooks.OnTimer once after d. Setting it again replaces it.
func (s *Session) SetTimer(d time.Duration) {
	srv, x := s.srv(), s.extend()
	srv.appTimers.Schedule(x, srv.now()+d)
	if s.phase() == over {
		srv.appTimers.Stop(x)
	}
}

// Send sends a message. It never blocks: what the client does not read is
// queued. payload is copied where it must be kept, and as Text must be UTF-8.
func (s *Session) Send(op Op, payload []byte) error {
	if s.phase() != open {
		return ErrClosed
	}
	if s.state.Load()&(windowMask<<windowShift|holdBit) != 0 {
		return s.SendPrepared(frame.Prepare(op, payload))
	}
	buf := scratch.Get().(*[]byte)
	b := frame.AppendFrame((*buf)[:0], op, payload)
	err := s.outcome(s.conn.WriteBorrowed(b, s.srv().userPolicy))
	if cap(b) <= scratchKeep {
		*buf = b
	}
	scratch.Put(buf)
	return err
}

// SendPrepared sends a message that was encoded before, for several receivers.
func (s *Session) SendPrepared(p *frame.Prepared) error {
	return s.deliver(p, s.srv().userPolicy)
}

func (s *Session) deliver(p *frame.Prepared, policy netpoll.Policy) error {
	state := s.state.Load()
	if phase(state>>16&0xff) != open {
		return ErrClosed
	}
	if state&holdBit != 0 && s.srv().unread.keep(s, p, policy) {
		return nil
	}
	return s.outcome(s.conn.Write(s.encoded(p), policy))
}

// outcome turns that of a write into what a sender may want to know, and ends
// the session that reads too slowly.
func (s *Session) outcome(o netpoll.Outcome) error {
	switch o {
	case netpoll.Written, netpoll.Queued:
		return nil
	case netpoll.Full:
		s.srv().stats.slow.Add(1)
		s.end(frame.StatusTryAgainLater, "too slow", true)
		return ErrSlow
	case netpoll.Dropped:
		return ErrSlow
	}
	return ErrClosed
}

// scratch holds buffers in which single messages are encoded.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

const scratchKeep = 64 << 10

// Close starts the closing handshake, RFC 6455 section 7.1.2: what is queued is
// sent, then a close frame with the code and reason (cut to 123 bytes), and the
// connection ends when the client answered or Config.CloseTimeout has passed.
// A code that may not be sent, frame.CloseCodeAllowed, is sent as none. It
// reports false if the session was closing already.
func (s *Session) Close(code Code, reason string) bool {
	if !frame.CloseCodeAllowed(code) {
		code = frame.StatusNoStatusRcvd
	}
	return s.end(code, reason, false)
}

// end is Close; with discard the messages that wait are dropped first.
func (s *Session) end(code Code, reason string, discard bool) bool {
	if !discard && s.state.Load()&holdBit != 0 {
		if m := s.srv().unread.find(s); m != nil {
			m.letGo()
		}
	}
	if !s.enter(closing, code) {
		return false
	}
	if discard {
		s.conn.DropMessages() // not the answer to the handshake, which may wait too
	}
	s.seal(frame.AppendClose(nil, code, reason), false, netpoll.KeepOpen)
	return true
}

// seal sends the last bytes, see netpoll.Conn.Seal, when the deadline for the rest of the
// connection runs: who has read them may count on it.
func (s *Session) seal(last []byte, discard bool, then netpoll.Ending) {
	s.arm(s.srv().cfg.CloseTimeout)
	s.conn.Seal(last, discard, then)
}

// arm schedules the session's timer.
func (s *Session) arm(d time.Duration) {
	srv := s.srv()
	srv.wheel.Schedule(s, srv.now()+d)
	if s.phase() == over {
		srv.wheel.Stop(s) // gone may have done so too early
	}
}
