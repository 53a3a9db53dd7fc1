package server

import (
	"context"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/identity"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/limit"
	"fanfare/server/where"
)

// Op is the kind of a message, RFC 6455 section 5.6.
type Op = ws.OpCode

// Text and Binary messages.
//
// A text message must be UTF-8. Messages from clients are checked; messages to clients are
// not: a client fails the connection at invalid text (RFC 6455, 8.1), and browsers do, with
// 1007. Send bytes of unknown origin as Binary.
const (
	Text   = ws.OpText
	Binary = ws.OpBinary
)

// Session is an open connection with its identity and its timer. An idle session is this
// struct and the name of its user: it has no goroutine and no buffer. The fields that a
// broadcast and an echo use come first, in two cache lines.
type Session struct {
	conn  netpoll.Conn              // 64 bytes
	state atomic.Uint32             // see the constants below
	heard atomic.Uint32             // tick at which bytes were last received
	entry registry.Entry[*Session]  // in the registry of users and topics
	timer registry.Timer[*Session]  // one for handshake, heartbeat and close
	ep    atomic.Pointer[endpoint]  // Server.unrouted until the request has named its path
	ext   atomic.Pointer[extension] // what few sessions need; nil for most

	// Owned by the read turn.
	dec    frame.Decoder
	source *limit.Source // nil: a loopback or unknown address

	// Atomic. Times are ticks of the server's clock.
	opened uint32        // immutable once open
	pinged atomic.Uint32 // when the last heartbeat was sent
}

// The registry and the wheels find their fields with these.
func entryOf(s *Session) *registry.Entry[*Session]        { return &s.entry }
func timerOf(s *Session) *registry.Timer[*Session]        { return &s.timer }
func appTimerOf(x *extension) *registry.Timer[*extension] { return &x.timer }

func (s *Session) endpoint() *endpoint { return s.ep.Load() }
func (s *Session) srv() *Server        { return s.ep.Load().srv }

// A session's phase only grows. The close code is that of the side that ended the
// session first, and is set by the same step.
type phase uint32

const (
	readingProxyHeader phase = iota // of a connection from Config.ProxyProtocol
	readingRequest                  // gathering the request
	deciding                        // the request is complete, and is checked in the read turn
	identifying                     // an Identifier has it
	admitting                       // the Identifier has returned
	open                            // messages flow
	closing                         // our close frame is out, theirs is awaited
	lingering                       // nothing is sent any more; the peer is to end the stream
	ended                           // the connection has ended
)

// Session.state is one word, so that a broadcast reads everything that it needs to know
// of a session at once.
const (
	codeMask     = 0xffff // bits 0 to 15: the close code
	phaseShift   = 16     // bits 16 to 19: the phase
	phaseMask    = 0xf
	dialectShift = 20 // bits 20 to 23: the index in Endpoint.Dialects
	dialectMask  = 0xf
	windowShift  = 24 // bits 24 to 27: the client's deflate window, 0: no compression
	windowMask   = 0xf
	holdBit      = 1 << 28 // live messages wait for stored ones
	// clientCodeBit: the code is that of the client's close frame.
	clientCodeBit = 1 << 29
	identifierBit = 1 << 30 // the session has the read turn's rights on another goroutine, see identification
	proxiedBit    = 1 << 31 // the client's address is that of source
)

func phaseOf(state uint32) phase   { return phase(state >> phaseShift & phaseMask) }
func (s *Session) phase() phase    { return phaseOf(s.state.Load()) }
func (s *Session) closeCode() Code { return Code(s.state.Load() & codeMask) }

// dialect and raw are valid once the session is open.
func (s *Session) dialect() Dialect {
	return s.endpoint().Dialects[s.state.Load()>>dialectShift&dialectMask]
}

// raw is isRaw of the session's dialect.
func (s *Session) raw() bool {
	return s.endpoint().raw[s.state.Load()>>dialectShift&dialectMask]
}

// enter moves the session to a later phase, and notes the code unless one is noted.
// It returns false if the session was in that phase, or a later one, already.
func (s *Session) enter(next phase, code Code) bool {
	ok, _ := s.enterFirst(next, code)
	return ok
}

// enterFirst is enter that also reports whether code is the one that was noted.
func (s *Session) enterFirst(next phase, code Code) (ok, first bool) {
	for {
		old := s.state.Load()
		if phaseOf(old) >= next {
			return false, false
		}
		word := uint32(next)<<phaseShift | old&^(phaseMask<<phaseShift)
		if first = old&codeMask == 0; first {
			word |= uint32(code)
		}
		if s.state.CompareAndSwap(old, word) {
			return true, first
		}
	}
}

// advance moves the session from one phase to another, and reports false if it is in
// neither.
func (s *Session) advance(from, to phase) bool {
	for {
		old := s.state.Load()
		if phaseOf(old) != from {
			return false
		}
		if s.state.CompareAndSwap(old, uint32(to)<<phaseShift|old&^(phaseMask<<phaseShift)) {
			return true
		}
	}
}

// extension has the fields that few sessions need.
type extension struct {
	session   *Session
	gathering *gathering // while the request comes in pieces; owned by the read turn
	timer     registry.Timer[*extension]
	over      chan struct{} // closed when the connection has ended; immutable, nil if Serve does not wait
	adopted   *Adoption     // until Open has opened the session; owned by the read turn

	// Atomic, see grant and setExpiry.
	maxMessages atomic.Uint32 // per second; 0: the endpoint's Rate
	maxTopics   atomic.Uint32 // 0: Config.TopicsPerSession
	expires     atomic.Uint32 // tick at which the identity expires, 0: never

	credential atomic.Pointer[handover.Credential] // nil without Config.Revocations, see there

	meter     limit.Meter // of what the client sends; owned by the read turn
	discarded int         // bytes that came while lingering; owned by the read turn
	refreshed uint32      // tick of the client's last refresh; owned by the read turn

	protocol string // immutable once open

	// Guarded by mu.
	mu     sync.Mutex
	may    unique.Handle[identity.Capabilities] // zero: nothing
	labels unique.Handle[where.Labels]          // zero: none
	data   any
	reason string             // of the close
	client clientAddr         // the client's address, where it is not the peer's or the connection has ended
	ctx    context.Context    // nil until Session.Context is called
	cancel context.CancelFunc // of ctx
}

// extend returns the session's extension, which it creates if there is none.
func (s *Session) extend() *extension {
	if x := s.ext.Load(); x != nil {
		return x
	}
	s.ext.CompareAndSwap(nil, &extension{session: s})
	return s.ext.Load()
}

// listed reports whether the session is open and in the registry. The user is written
// before the phase, and may be read after it.
func (s *Session) listed() bool { return s.phase() == open && s.entry.User() != "" }

// User returns the user that the session belongs to, empty if none.
func (s *Session) User() string { return s.entry.User() }

// Server returns the server that the session belongs to.
func (s *Session) Server() *Server { return s.srv() }

// ID returns a number that no other session of this server has.
func (s *Session) ID() uint64 { return s.conn.ID() }

// Protocol returns the sub-protocol that was chosen, empty if none.
func (s *Session) Protocol() string {
	if s.stream() {
		return s.dialect().Protocol()
	}
	if x := s.ext.Load(); x != nil {
		return x.protocol
	}
	return ""
}

// Topics returns the topics that the session subscribes to.
func (s *Session) Topics() []string { return s.srv().users.AppendTopics(nil, s) }

// Opened returns the time at which the handshake was completed, to 100 ms.
func (s *Session) Opened() time.Time {
	return s.srv().started.Add(time.Duration(s.opened) * tick)
}

// Queued returns the number of bytes in the outbound queue.
func (s *Session) Queued() int { return s.conn.Queued() }

// fullID returns SessionInfo.ID, which no other session of the cluster has.
func (s *Session) fullID() string {
	id := strconv.FormatUint(s.ID(), 10)
	if cl := s.srv().cluster; cl != nil {
		return cl.Name() + "/" + id
	}
	return id
}

// info returns a description of the session.
func (s *Session) info() SessionInfo {
	info := SessionInfo{
		ID:          s.fullID(),
		User:        s.User(),
		Opened:      s.Opened().UTC(),
		Topics:      s.Topics(),
		QueuedBytes: s.Queued(),
		Protocol:    s.Protocol(),
	}
	if cl := s.srv().cluster; cl != nil {
		info.Node = cl.Name()
	}
	info.ContentType = s.endpoint().mediaType
	if peer := s.RemoteAddr(); peer.IsValid() {
		info.RemoteAddr = peer.String()
	}
	if info.Topics == nil {
		info.Topics = []string{}
	}
	slices.Sort(info.Topics)
	return info
}

// Data returns the value of the last SetData, at first Identity.Data.
func (s *Session) Data() any {
	x := s.ext.Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.data
}

// SetData stores a value with the session.
func (s *Session) SetData(v any) {
	x := s.extend()
	x.mu.Lock()
	x.data = v
	x.mu.Unlock()
	s.touch()
}

// SetTimer schedules one call of Hooks.OnTimer after d. A further call replaces the time.
func (s *Session) SetTimer(d time.Duration) {
	srv, x := s.srv(), s.extend()
	srv.appTimers.Schedule(x, srv.now()+d)
	if s.phase() == ended {
		srv.appTimers.Stop(x)
	}
}

// arm schedules the session's timer.
func (s *Session) arm(d time.Duration) {
	srv := s.srv()
	srv.wheel.Schedule(s, srv.now()+d)
	if s.phase() == ended {
		srv.wheel.Stop(s) // ended may have stopped it too early
	}
}

// panicked logs and counts a panic that was recovered; where says what ran.
func (srv *Server) panicked(where string, v any, attrs ...any) {
	srv.log.Error("panic recovered", append([]any{"where", where, "panic", v, "stack", string(debug.Stack())}, attrs...)...)
	srv.stats.Panics.Add(1) // last: a reader of the counter finds it in the log
}

// guard runs a hook. A panic ends the session with 1011.
func (s *Session) guard(hook func()) {
	defer s.recovered("hook")
	hook()
}

// recovered is deferred around calls whose panic ends the session with 1011.
func (s *Session) recovered(where string) {
	if v := recover(); v != nil {
		s.srv().panicked(where, v, "endpoint", s.endpoint().Path, "user", s.User())
		s.end(frame.StatusInternalError, "", true)
	}
}

// logPanic is deferred around calls whose panic the session survives: the caller has set
// a result that stands in.
func (s *Session) logPanic(where string) {
	if v := recover(); v != nil {
		s.srv().panicked(where, v, "endpoint", s.endpoint().Path, "user", s.User())
	}
}
