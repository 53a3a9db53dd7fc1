package pusher

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Presence knows who subscribes to the channels of an app. Sessions are named by their user in
// package server, which no other session has. The calls of Enter and Exit for one app never
// overlap.
type Presence interface {
	// Enter counts a subscription; m is nil except for a presence channel.
	Enter(channel, session string, m *Member) Change
	// Exit is the reverse. A subscription that was not counted changes nothing.
	Exit(channel, session string) Change
	// Count returns the subscriptions to a channel, and the users among them.
	Count(channel string) (subscribers, users int)
	// Member returns the user of a subscription to a presence channel, nil if there is none.
	Member(channel, session string) *Member
	// Members returns the users of a presence channel, by their ID.
	Members(channel string) []Member
	// Channels returns the channels with subscribers whose names begin with a prefix, sorted.
	Channels(prefix string) []string
}

// Member is a user of a presence channel.
type Member struct {
	UserID string         `json:"user_id"`
	Info   jsontext.Value `json:"user_info,omitzero"`
}

// Change is what Enter and Exit have changed.
type Change struct {
	// First: the channel has its first subscriber. Last: the last one has left.
	First, Last bool
	// Member is the user whose first connection came, or whose last one left; nil: neither.
	Member *Member
}

// local is the Presence of one process.
type local struct {
	mu       sync.Mutex
	channels map[string]*occupants // guarded by mu, and what it points at
}

// occupants are the subscribers of a channel.
type occupants struct {
	subscribers int
	users       map[string]*present // by ID
	sessions    map[string]*present // of presence channels
}

// present is a user, with a number of connections.
type present struct {
	Member
	connections int
}

func newLocal() *local { return &local{channels: make(map[string]*occupants)} }

func (l *local) Enter(channel, session string, m *Member) (c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.channels[channel]
	if o == nil {
		o = new(occupants)
		l.channels[strings.Clone(channel)] = o
	}
	o.subscribers++
	c.First = o.subscribers == 1
	if m == nil {
		return c
	}
	if o.users == nil {
		o.users, o.sessions = make(map[string]*present), make(map[string]*present)
	}
	p := o.users[m.UserID]
	if p == nil {
		p = &present{Member: *m}
		o.users[m.UserID] = p
		c.Member = &p.Member
	}
	p.connections++
	o.sessions[session] = p
	return c
}

func (l *local) Exit(channel, session string) (c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.channels[channel]
	if o == nil {
		return c
	}
	if p := o.sessions[session]; p != nil {
		delete(o.sessions, session)
		if p.connections--; p.connections == 0 {
			delete(o.users, p.UserID)
			c.Member = &p.Member
		}
	}
	if o.subscribers--; o.subscribers == 0 {
		delete(l.channels, channel)
		c.Last = true
	}
	return c
}

func (l *local) Count(channel string) (subscribers, users int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.channels[channel]; o != nil {
		return o.subscribers, len(o.users)
	}
	return 0, 0
}

func (l *local) Member(channel, session string) *Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.channels[channel]; o != nil {
		if p := o.sessions[session]; p != nil {
			return &p.Member
		}
	}
	return nil
}

func (l *local) Members(channel string) (all []Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.channels[channel]
	if o == nil {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(o.users)) {
		all = append(all, o.users[id].Member)
	}
	return all
}

func (l *local) Channels(prefix string) (all []string) {
	l.mu.Lock()
	for name := range l.channels {
		if strings.HasPrefix(name, prefix) {
			all = append(all, name)
		}
	}
	l.mu.Unlock()
	slices.Sort(all)
	return all
}
