package pusher

import (
	"fmt"
	"slices"
	"strings"

	"fanfare/server"
)

// clientRate counts the client events of a session; owned by its read turn.
type clientRate struct {
	second int64
	events int
}

// take counts an event, and reports whether it may pass.
func (r *clientRate) take(second int64, most int) bool {
	if r.second != second {
		r.second, r.events = second, 0
	}
	r.events++
	return r.events <= most
}

// clientEvent handles an event that a client sends to the other subscribers of a channel.
func (a *app) clientEvent(s *server.Session, m *message) {
	conf := a.conf()
	reject := func(code server.Code, format string, args ...any) {
		e := errorEvent(code, fmt.Sprintf(format, args...))
		if validChannel(m.Channel) {
			e.channel = m.Channel
		}
		e.reply(s)
	}
	switch {
	case !strings.HasPrefix(m.Event, "client-"):
		reject(errorClientRejected, "unknown event %.80q: want pusher:ping, pusher:subscribe, pusher:unsubscribe, pusher:signin or a name that begins with client-", m.Event)
		return
	case !conf.ClientEvents:
		reject(errorClientEvent, "client events are not enabled for this app: set client_events")
		return
	case len(m.Event) > maxEvent:
		reject(errorClientRejected, "the name of the event has %d bytes: want at most %d", len(m.Event), maxEvent)
		return
	case !validChannel(m.Channel) || !isSigned(m.Channel) || isEncrypted(m.Channel):
		reject(errorClientRejected, "client events are for private and presence channels that are not encrypted")
		return
	case len(m.Data) > conf.MaxEventBytes:
		reject(errorClientRejected, "the data of the event has %d bytes: want at most %d", len(m.Data), conf.MaxEventBytes)
		return
	case !slices.Contains(s.Topics(), a.topic(m.Channel)):
		reject(errorClientRejected, "the connection does not subscribe to the channel")
		return
	}
	rate, ok := s.Data().(*clientRate)
	if !ok {
		rate = new(clientRate)
		s.SetData(rate)
	}
	if !rate.take(a.service.now().Unix(), conf.ClientEventsPerSecond) {
		reject(errorClientEvent, "more than %d client events a second", conf.ClientEventsPerSecond)
		return
	}
	e := event{name: m.Event, channel: m.Channel, data: m.Data}
	hook := hookEvent{Name: "client_event", Channel: m.Channel, Event: m.Event, Data: hookData(m.Data), SocketID: socketOf(s)}
	if member := a.presence.Member(m.Channel, s.User()); member != nil {
		e.userID, hook.UserID = member.UserID, member.UserID
	}
	a.publish(m.Channel, e, s)
	a.webhooks.add(hook)
}
