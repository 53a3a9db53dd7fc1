package pusher

import (
	"fanfare/frame"
	"fanfare/server"
)

// Close codes, as the protocol has them: after 4000 to 4099 a client stays away, after 4100 to
// 4199 it comes back later, after 4200 to 4299 at once.
const (
	closeNoApp          server.Code = 4001
	closeDisabled       server.Code = 4003
	closeOverQuota      server.Code = 4004
	closeBadVersion     server.Code = 4006
	closeUnsupported    server.Code = 4007
	closeNoVersion      server.Code = 4008
	closeUnauthorized   server.Code = 4009
	errorClientEvent    server.Code = 4301 // the rate of client events; the connection stays
	errorClientRejected server.Code = 4302 // a client event that is not possible; likewise
)

// dialect is the protocol. Sessions of all apps share it, so that what all of them get is
// encoded once.
type dialect struct {
	server.WebSocket
	service *Service
}

func (*dialect) Protocol() string     { return "" }
func (*dialect) Name() string         { return "pusher" }
func (*dialect) Acks() server.AckMode { return server.AckByPong }

// Resume: the protocol names no positions.
func (*dialect) Resume(*server.Request, string, []string) (map[string]server.Position, error) {
	return nil, nil
}

// Encode returns c as it is if it is an event, and as the event fanfare:message otherwise.
func (*dialect) Encode(c server.Content) *frame.Prepared {
	if c.Op == server.Text && passes(c.Payload) {
		return frame.Prepare(server.Text, c.Payload)
	}
	e := event{name: "fanfare:message", data: quote(nil, string(c.Payload))}
	return frame.Prepare(server.Text, e.encode())
}

// established is the data of the first message.
type established struct {
	SocketID        string `json:"socket_id"`
	ActivityTimeout int    `json:"activity_timeout"`
}

// Greeting is pusher:connection_established.
func (d *dialect) Greeting(s *server.Session) *frame.Prepared {
	app := d.service.appOf(s)
	if app == nil {
		return nil // the session is closed when it has opened
	}
	e := event{name: "pusher:connection_established", data: nested(established{socketOf(s), app.conf().ActivityTimeout})}
	return frame.Prepare(server.Text, e.encode())
}

// Goodbye is pusher:error, for the codes of the protocol, and a close frame with the same code.
func (d *dialect) Goodbye(code server.Code, reason string) []byte {
	var b []byte
	if code >= 4000 && code < 4400 {
		b = append(b, frame.Prepare(server.Text, errorEvent(code, reason).encode()).Plain()...)
	}
	return append(b, d.WebSocket.Goodbye(code, reason)...)
}

// Receive handles a message of a client. A mistake is answered with pusher:error, and has no
// other effect.
func (d *dialect) Receive(s *server.Session, op server.Op, payload []byte) {
	app := d.service.appOf(s)
	if app == nil {
		s.Close(closeNoApp, "the app of this connection does not exist any more")
		return
	}
	var m message
	if op != server.Text {
		errorEvent(0, "expected a text message with a JSON object, not a binary message").reply(s)
		return
	}
	if err := m.parse(payload); err != nil {
		errorEvent(0, err.Error()).reply(s)
		return
	}
	switch m.Event {
	case "pusher:ping":
		pong.reply(s)
	case "pusher:pong":
	case "pusher:subscribe":
		app.subscribe(s, &m)
	case "pusher:unsubscribe":
		app.unsubscribe(s, &m)
	case "pusher:signin":
		app.signin(s, &m)
	default:
		app.clientEvent(s, &m)
	}
}

var pong = event{name: "pusher:pong", data: []byte(`"{}"`)}

// Begin: subscription_succeeded does not name a position.
func (*dialect) Begin(*server.Session, server.Position) {}
