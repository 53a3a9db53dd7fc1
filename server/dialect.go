package server

import (
	"github.com/gobwas/ws"

	"fanfare/frame"
)

// Dialect is what a session speaks on the wire: how messages are encoded, what
// inbound messages mean, and what the server sends by itself. It is chosen
// at the handshake, from Endpoint.Dialects, by the sub-protocol that the client
// offers (RFC 6455 section 1.9).
//
// A Dialect is shared by all its sessions and must be comparable and safe for
// concurrent use. The state of one session belongs in Session.Data.
type Dialect interface {
	// Protocol is the sub-protocol that selects the dialect. The dialect without
	// one is for clients that offer no sub-protocol of the endpoint.
	Protocol() string

	// Resume returns the positions that a client names in its handshake, by topic,
	// the position in the user's inbox under "". user is that of the session, and topics are
	// those that it subscribes to when it opens. An error rejects the handshake.
	Resume(r *Request, user string, topics []string) (map[string]Position, error)

	// Encode returns the WebSocket message that carries c. It is called once for
	// all receivers of a message.
	Encode(c Content) *frame.Prepared

	// Begin sends the client the position at which a box starts for it: the user's inbox once
	// the session is open (Topic is empty), or a durable topic. It precedes the
	// first message of that box, and for the inbox every live message. Where the
	// store has not answered in time Epoch is empty, and a second call follows.
	// Without a store there is one call, for the inbox, with neither.
	Begin(s *Session, p Position)

	// Receive handles a text or binary message of the client, in the read turn.
	// payload is borrowed until it returns, and may be modified.
	Receive(s *Session, op Op, payload []byte)

	// Acks says how clients acknowledge stored messages.
	Acks() AckMode

	// Heartbeat returns the frame that makes a silent client send something.
	Heartbeat() []byte
	// Ping returns a frame that a client answers with the same payload, by a pong,
	// after it has received everything before; nil if the dialect has none.
	Ping(payload []byte) []byte

	// Goodbye returns the last bytes to a session that the server closes.
	Goodbye(code Code, reason string) []byte
}

// Greeter is a Dialect whose server speaks first.
type Greeter interface {
	Dialect
	// Greeting returns the first message of a session, which precedes every other, nil for
	// none. It must not send by itself.
	Greeting(s *Session) *frame.Prepared
}

// PresenceDialect is a Dialect whose clients can tell presence messages from others: Encode looks
// at Content.Presence. Sessions of other dialects get none.
type PresenceDialect interface {
	Dialect
	EncodesPresence()
}

// NamedDialect is a Dialect whose name in lists of sessions is another one than its sub-protocol.
type NamedDialect interface {
	Dialect
	// Name is lower-case, such as "pusher".
	Name() string
}

// dialectName returns SessionDetails.Dialect.
func (s *Session) dialectName() string {
	d := s.dialect()
	if named, ok := d.(NamedDialect); ok {
		return named.Name()
	}
	if name := d.Protocol(); name != "" {
		return name
	}
	return "plain"
}

// Content is what a Dialect encodes.
type Content struct {
	Op      Op // Text or Binary
	Payload []byte

	// Topic, Epoch and Offset are those of a stored message: the durable topic,
	// empty for the user's inbox; Offset is 0 for a message that is not stored.
	Topic  string
	Epoch  string
	Offset uint64
	// Gap reports that messages of the same box are missing before this one.
	Gap bool
	// Presence says that Payload is the presence object of fanfare.v1, not what was pushed.
	// Only a PresenceDialect gets such a message.
	Presence bool
}

// Position is where a box starts for a client: not an offset alone, but an offset with the
// box and the epoch that it belongs to, and whether messages before it are missing.
type Position struct {
	Topic  string // empty: the user's inbox
	Epoch  string
	Offset uint64 // the last offset that the client is not sent
	Gap    bool   // messages are missing between the client's position and Offset
}

// AckMode says how a dialect's clients acknowledge stored messages.
type AckMode uint8

const (
	// AckByPong: the pong that answers a ping following the messages. It works
	// with every WebSocket client.
	AckByPong AckMode = iota
	// AckExplicit: by a message of the dialect, see Session.Acknowledge.
	AckExplicit
	// AckNone: not at all; the application calls Session.Acknowledge.
	AckNone
	// AckByResume: by the positions that Dialect.Resume returns when the client connects
	// again. A client may also send them by Server.Acknowledge, which a Stream does for a
	// POST.
	AckByResume
)

// Plain returns the dialect without an envelope: a message arrives byte for byte as it
// was pushed, and what clients send goes to Hooks.OnMessage.
func Plain() Dialect { return plainByPong }

// PlainUnacknowledged is Plain for clients behind a proxy that answers pings itself:
// their pongs acknowledge nothing, so each session gets everything that is unread.
func PlainUnacknowledged() Dialect { return plainUnacknowledged }

var (
	plainByPong         = &plain{acks: AckByPong}
	plainUnacknowledged = &plain{acks: AckNone}
)

type plain struct {
	WebSocket
	acks AckMode
}

// isRaw reports whether a dialect adds nothing to messages: they are sent as NewMessage has
// encoded them, what clients send concerns nothing but OnMessage, and clients have no way
// to subscribe.
func isRaw(d Dialect) bool {
	_, raw := d.(*plain) // not a dialect that embeds Plain, and may encode differently
	return raw
}

func (*plain) Protocol() string                 { return "" }
func (*plain) Encode(c Content) *frame.Prepared { return frame.Prepare(c.Op, c.Payload) }
func (*plain) Begin(*Session, Position)         {}
func (p *plain) Acks() AckMode                  { return p.acks }

// Resume: a plain client gets what its user has not acknowledged.
func (*plain) Resume(*Request, string, []string) (map[string]Position, error) { return nil, nil }

func (*plain) Receive(s *Session, op Op, payload []byte) {
	if hook := s.endpoint().Hooks.OnMessage; hook != nil {
		hook(s, op, payload)
	}
	if s.endpoint().Respond != nil {
		s.requestPlain(op, payload)
	}
}

// WebSocket has the heartbeat and the close of dialects that consist of WebSocket
// messages, for embedding in them.
type WebSocket struct{}

// pingFrame is shared by all sessions.
var pingFrame = frame.Prepare(ws.OpPing, nil).Plain()

// Heartbeat is an empty ping, RFC 6455 section 5.5.2.
func (WebSocket) Heartbeat() []byte { return pingFrame }

// Ping is RFC 6455 sections 5.5.2 and 5.5.3.
func (WebSocket) Ping(payload []byte) []byte { return frame.AppendFrame(nil, ws.OpPing, payload) }

// Goodbye is a close frame, RFC 6455 section 5.5.1.
func (WebSocket) Goodbye(code Code, reason string) []byte {
	return frame.AppendClose(nil, code, reason)
}

// The rest of this file calls dialects. A panic ends at most the session or the call that it
// happened for.

// receive hands a message to the dialect, without a closure because it is the hot
// path.
func (s *Session) receive(d Dialect, op Op, payload []byte) {
	defer s.recovered("Dialect.Receive or OnMessage")
	d.Receive(s, op, payload)
}

// greet sends what Greeter.Greeting returns. The answer to the handshake is corked, and so is
// the greeting.
func (s *Session) greet() {
	defer s.recovered("Greeter.Greeting")
	if g, ok := s.dialect().(Greeter); ok {
		if p := g.Greeting(s); p != nil {
			s.Reply(p)
		}
	}
}

// callBegin calls Dialect.Begin.
func (s *Session) callBegin(p Position) {
	defer s.recovered("Dialect.Begin")
	s.dialect().Begin(s, p)
}

// goodbye calls Dialect.Goodbye. Its substitute is a close frame, or nothing for a Stream.
func (s *Session) goodbye(code Code, reason string) (b []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.srv().panicked("Dialect.Goodbye", v, "endpoint", s.endpoint().Path, "user", s.User())
			if !s.stream() {
				b = WebSocket{}.Goodbye(code, reason)
			}
		}
	}()
	return s.dialect().Goodbye(code, reason)
}

// heartbeatFrame calls Dialect.Heartbeat. Its substitute is an empty ping, or nothing for a
// Stream.
func (s *Session) heartbeatFrame() (b []byte) {
	if !s.stream() {
		b = pingFrame
	}
	defer s.logPanic("Dialect.Heartbeat")
	return s.dialect().Heartbeat()
}

// pingFrame calls Dialect.Ping. It returns nil after a panic.
func (s *Session) pingFrame(payload []byte) (b []byte) {
	defer s.logPanic("Dialect.Ping")
	return s.dialect().Ping(payload)
}

// ackMode calls Dialect.Acks. Its substitute is AckNone.
func (s *Session) ackMode() (mode AckMode) {
	mode = AckNone
	defer s.logPanic("Dialect.Acks")
	return s.dialect().Acks()
}

// encode calls Dialect.Encode for a message that any number of sessions share. A panic
// costs the sessions that speak the dialect this message.
func (srv *Server) encode(d Dialect, c Content) (p *frame.Prepared) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("Dialect.Encode", v, "protocol", d.Protocol())
		}
	}()
	return d.Encode(c)
}

// encodeStored calls Dialect.Encode for a stored message. It returns nil for a panic;
// package replay decides whether the message is tried again.
func (s *Session) encodeStored(c Content) (p *frame.Prepared) {
	defer s.logPanic("Dialect.Encode")
	return s.dialect().Encode(c)
}
