package server

import (
	"errors"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/replay"
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
	// the position in the user's inbox under "". topics are those that the session
	// subscribes to when it opens. An error rejects the handshake.
	Resume(r *Request, topics []string) (map[string]Position, error)

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
func (*plain) Resume(*Request, []string) (map[string]Position, error) { return nil, nil }

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

// ProtocolV1 is the sub-protocol of [V1].
const ProtocolV1 = "fanfare.v1"

// V1 returns the dialect fanfare.v1: text messages that hold one JSON object each. The
// server sends
//
//	{"type":"hello","user":"alice","epoch":"k3f9","offset":41,"ticket":"…"}
//	{"type":"message","epoch":"k3f9","offset":42,"text":"…"}
//	{"type":"message","topic":"news","epoch":"x81c","offset":7,"text":"…"}
//	{"type":"message","base64":"…"}
//	{"type":"subscribe","topic":"news","epoch":"x81c","offset":6}
//	{"type":"unsubscribe","topic":"news"}
//	{"type":"publish","id":"7","topic":"news","epoch":"x81c","offset":8}
//	{"type":"reply","id":"7","text":"…"}
//	{"type":"refresh","expires":1893456000,"expires_in":3600}
//	{"type":"presence","topic":"room","members":3,"joined":["bob"],"left":["carol"]}
//	{"type":"error","id":"7","code":"…","message":"…"}
//
// and a client may send
//
//	{"type":"ack","epoch":"k3f9","offset":42}
//	{"type":"ack","topic":"news","epoch":"x81c","offset":7}
//	{"type":"subscribe","topic":"news"}
//	{"type":"subscribe","topic":"news","epoch":"x81c","offset":6}
//	{"type":"subscribe","topic":"news","rewind":1}
//	{"type":"unsubscribe","topic":"news"}
//	{"type":"publish","id":"7","topic":"news","text":"…"}
//	{"type":"request","id":"7","text":"…"}
//	{"type":"refresh","token":"…"}
//
// A stored message has an offset, and is redelivered until it is acknowledged; a
// live one has none. The payload is text, or base64 if it is binary; a text whose
// JSON escapes would make it more than a third, and a KiB, longer is base64 with
// "utf8":true.
//
// The answer to a command with an ID that rejects it, replies to it, or says that the message is
// published, has the ID, too.
//
// Offsets of one box, the user's inbox or a durable topic, increase within an
// epoch, so a message with an offset that the client has seen in the same epoch and
// box is a duplicate. An ack covers everything up to its offset, for all sessions
// of the user.
//
// A client resumes with ?offset=N&epoch=E in the URL, and offset.TOPIC, epoch.TOPIC
// for a durable topic, or with the same members of subscribe; otherwise it gets
// what no session of its user has acknowledged. "gap":true in hello, subscribe or a
// message reports that messages before it are no longer stored. hello precedes
// every other object, subscribe every message of its durable topic.
func V1() Dialect { return theV1 }

var theV1 = new(v1)

type v1 struct {
	WebSocket
	_ byte // not of size zero, so that its address is its own
}

func (*v1) Protocol() string { return ProtocolV1 }
func (*v1) Acks() AckMode    { return AckExplicit }
func (*v1) EncodesPresence() {}

// Encode encodes c as a message object.
func (*v1) Encode(c Content) *frame.Prepared {
	if c.Presence {
		return frame.Prepare(Text, c.Payload)
	}
	m := fanfarev1.Message{Binary: c.Op != Text, Payload: c.Payload, Topic: c.Topic, Epoch: c.Epoch, Offset: c.Offset, Gap: c.Gap}
	return frame.Prepare(Text, m.Encode())
}

// Begin sends hello for the inbox, and the confirmation of a subscription. An offset means
// nothing without its epoch: if that is not known, neither is named.
func (*v1) Begin(s *Session, p Position) {
	o := fanfarev1.Object{Type: "subscribe", Topic: p.Topic, Gap: p.Gap}
	if p.Topic == "" {
		o.Type, o.User = "hello", s.User()
		if s.endpoint().Refresh != nil {
			o.ExpiresIn = s.expiresIn()
		}
		o.Ticket = s.takeTicket()
	}
	if p.Epoch != "" {
		o.Epoch, o.Offset = p.Epoch, &p.Offset
	}
	v1Client{s}.Send(o)
}

// Receive executes a command.
func (*v1) Receive(s *Session, op Op, payload []byte) {
	if op != Text {
		fanfarev1.Answer(v1Client{s}, "", fanfarev1.ErrBinary)
		return
	}
	fanfarev1.Execute(v1Client{s}, payload)
}

// Resume reads ?offset=41&epoch=k3f9&offset.news=7&epoch.news=x81c.
func (*v1) Resume(r *Request, topics []string) (map[string]Position, error) {
	found, err := fanfarev1.Positions(&r.head, usedParams{r}, topics)
	if len(found) == 0 || err != nil {
		return nil, err
	}
	positions := make(map[string]Position, len(found))
	for _, p := range found {
		positions[p.Topic] = Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset}
	}
	return positions, nil
}

// usedParams is a Request as package fanfarev1 sees it.
type usedParams struct{ r *Request }

func (u usedParams) Use(name string)       { u.r.ask(name, false) }
func (u usedParams) Used(name string) bool { return u.r.asked([]byte(name)) != nil }

// v1Client is a session as package fanfarev1 sees it.
type v1Client struct{ s *Session }

func (c v1Client) Send(o fanfarev1.Object)        { c.s.Reply(frame.Prepare(Text, o.Encode())) }
func (c v1Client) MaySubscribe(topic string) bool { return c.s.MaySubscribe(topic) }
func (c v1Client) Unsubscribe(topic string)       { c.s.Unsubscribe(topic) }

func (c v1Client) Subscribe(topic string, from fanfarev1.Start) (begins bool, err error) {
	start := replay.Start{Rewind: uint16(from.Rewind)}
	if p := from.After; p != nil {
		start = replay.Start{Resume: true, Epoch: p.Epoch, Offset: p.Offset}
	}
	switch begins, err = c.s.subscribe(topic, start, false); {
	case errors.Is(err, registry.ErrTooManyTopics):
		err = fanfarev1.ErrTooManyTopics
	case errors.Is(err, ErrNotDurable):
		err = fanfarev1.ErrNotDurable
	}
	return begins, err
}

func (c v1Client) Acknowledge(topic, epoch string, offset uint64) error {
	switch err := c.s.Acknowledge(topic, epoch, offset); {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoStore):
		return fanfarev1.ErrNoInbox
	case errors.Is(err, ErrPositions):
		return fanfarev1.ErrPositions
	}
	return fanfarev1.ErrNotSent
}

func (c v1Client) Refresh(token string) (r fanfarev1.Refreshed, err error) {
	id, ended, err := c.s.refreshBy(token)
	r.Ended, r.ExpiresIn = ended, c.s.expiresIn()
	if err == nil {
		r.Ticket = c.s.endpoint().issueTicket(&id)
	}
	if !id.Expires.IsZero() {
		r.Expires = id.Expires.Unix()
	}
	return r, err
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
