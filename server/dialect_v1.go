package server

import (
	"context"
	"errors"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/replay"
)

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
// live one has none. The payload is text, or base64 if it is binary. Text is sent as
// base64 with "utf8":true if JSON escapes would lengthen it by more than a third and by
// more than 1 KiB.
//
// If a command has an ID, the error, reply or publish that answers it has the same ID.
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
func (*v1) Resume(r *Request, _ string, topics []string) (map[string]Position, error) {
	found, err := fanfarev1.Positions(&r.head, &r.query, topics)
	if len(found) == 0 || err != nil {
		return nil, err
	}
	positions := make(map[string]Position, len(found))
	for _, p := range found {
		positions[p.Topic] = Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset}
	}
	return positions, nil
}

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

// refreshEvery bounds how often a client may refresh its session: a signature takes as long
// to verify as many messages to read.
const refreshEvery = 1 * ticksPerSecond

// refreshBy refreshes the session with a token that its client has sent. Errors are for
// package fanfarev1.
func (s *Session) refreshBy(token string) (id Identity, ended []string, err error) {
	f := s.endpoint().Refresh
	x, now := s.extend(), s.srv().tick.Load()
	switch {
	case f == nil:
		return id, nil, fanfarev1.ErrNoRefresh
	case token == "":
		return id, nil, fanfarev1.RefreshFailed("a refresh needs a token")
	case x.refreshed != 0 && now-x.refreshed < refreshEvery:
		return id, nil, fanfarev1.RefreshFailed("one refresh a second: try again later")
	}
	x.refreshed = now
	ctx, cancel := context.WithTimeout(s.srv().quit, s.srv().live().HandshakeTimeout)
	defer cancel()
	if id, err = f(ctx, s, token); err == nil {
		ended, err = s.Refresh(id)
	}
	var rejection *Rejection
	switch {
	case err == nil:
		s.srv().stats.Refreshes.Add(1)
		return id, ended, nil
	case errors.Is(err, ErrClosed):
		return id, nil, err
	case errors.Is(err, ErrOtherUser):
		return id, nil, fanfarev1.RefreshFailed("the token is another user's")
	case errors.As(err, &rejection):
		return id, nil, fanfarev1.RefreshFailed(rejection.Text)
	}
	s.srv().log.Error("refresh failed", "err", err)
	return id, nil, fanfarev1.RefreshFailed("internal error")
}
