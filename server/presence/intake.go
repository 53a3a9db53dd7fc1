package presence

import (
	"strings"
	"sync"

	"fanfare/server"
	"fanfare/server/internal/presence"
)

// maxIntake bounds the changes in their order. Beyond it only the last one of each name
// counts.
const maxIntake = 64 << 10

// intake takes the changes of this node from the server. It never waits.
type intake struct {
	kick chan struct{} // buffered

	mu    sync.Mutex
	items []presence.Item        // guarded by mu
	more  map[presence.Name]bool // after items; guarded by mu
}

func (in *intake) put(it presence.Item) {
	in.mu.Lock()
	if len(in.items) < maxIntake {
		in.items = append(in.items, it)
	} else {
		if in.more == nil {
			in.more = make(map[presence.Name]bool)
		}
		in.more[it.Name] = it.Held
	}
	in.mu.Unlock()
	select {
	case in.kick <- struct{}{}:
	default:
	}
}

// take returns the changes since the last call.
func (in *intake) take() []presence.Item {
	in.mu.Lock()
	defer in.mu.Unlock()
	items := in.items
	for name, held := range in.more {
		items = append(items, presence.Item{Name: name, Held: held})
	}
	in.items, in.more = nil, nil
	return items
}

// itemOf returns the change that an event is, if it is one.
func itemOf(e *server.Event) (it presence.Item, ok bool) {
	switch e.Kind {
	case server.UserOnline, server.UserOffline:
		return presence.Item{Name: presence.NameOf(presence.User, e.User), Held: e.Kind == server.UserOnline}, true
	case server.TopicOccupied, server.TopicVacated:
		return presence.Item{Name: presence.NameOf(presence.Topic, e.Topic), Held: e.Kind == server.TopicOccupied}, true
	case server.MemberJoined, server.MemberLeft:
		return presence.Item{Name: presence.NameOf(presence.Member, e.Topic+"\n"+e.User), Held: e.Kind == server.MemberJoined}, true
	}
	return it, false
}

// memberOf returns the change of a presence topic that a change is, if it is one.
func memberOf(name presence.Name, present bool) (c server.MemberChange, ok bool) {
	if name.Kind() != presence.Member {
		return c, false
	}
	topic, user, ok := strings.Cut(name.Text(), "\n") // which no name contains
	return server.MemberChange{Topic: topic, User: user, Present: present}, ok
}

// eventOf is the inverse of itemOf, for a change that concerns the cluster.
func eventOf(c *presence.Change) server.Event {
	e := server.Event{}
	switch {
	case c.Name.Kind() == presence.Topic && c.Present:
		e.Kind, e.Topic = server.TopicOccupied, c.Name.Text()
	case c.Name.Kind() == presence.Topic:
		e.Kind, e.Topic = server.TopicVacated, c.Name.Text()
	case c.Present:
		e.Kind, e.User = server.UserOnline, c.Name.Text()
	default:
		e.Kind, e.User, e.Opened = server.UserOffline, c.Name.Text(), c.LastSeen
	}
	return e
}
