package roster

import (
	"sync"
	"time"

	"fanfare/server/node"
)

// every gathers changes into one message for each topic.
const every = 100 * time.Millisecond

// Host is the server that has the topics. It is an interface, so that a linker leaves out Publish
// where nothing announces.
type Host interface {
	// Covers reports whether a topic is a presence topic.
	Covers(topic string) bool
	// Subscribes reports whether a session of a user subscribes to a topic.
	Subscribes(topic, user string) bool
	// Observe reports a change to what announces it for all nodes of a cluster. It is called
	// with the lock of Members held.
	Observe(c node.MemberChange)
	// Publish sends an announcement to the subscribers on all nodes.
	Publish(a *Announcement)
	// Wall returns the time of day.
	Wall() time.Time
}

// key is a user who subscribes to a topic.
type key struct{ topic, user string }

// Members tells the subscribers of presence topics who joins and leaves. A nil *Members
// tells nothing.
type Members struct {
	host      Host // immutable
	clustered bool // another node may announce; immutable

	// mu is held across a look at the subscriptions of a user and what follows of it: mu →
	// registry locks, the Observer's.
	mu     sync.Mutex
	here   map[key]struct{} // who subscribes on this node; guarded by mu
	roster *Roster          // nil: another node of the cluster announces; guarded by mu
	timer  *time.Timer      // runs Announce; guarded by mu
	due    time.Time        // of timer; zero: it does not run; guarded by mu
	ended  bool             // guarded by mu
}

// NewMembers returns the members of the topics of a host, with a grace period for users who leave.
// announce calls Members.Announce; it is a function, so that a program without presence topics does
// not link that.
func NewMembers(host Host, clustered bool, grace time.Duration, announce func(*Members)) *Members {
	ms := &Members{host: host, clustered: clustered, here: make(map[key]struct{})}
	ms.timer = time.AfterFunc(time.Hour, func() { announce(ms) })
	ms.timer.Stop()
	if !clustered {
		ms.roster = New(grace)
	}
	return ms
}

// Review records whether a user subscribes to a topic. known says that this was announced
// before, by another process.
func (ms *Members) Review(topic, user string, known bool) {
	if ms == nil || user == "" || !ms.host.Covers(topic) {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	k := key{topic, user}
	_, before := ms.here[k]
	after := ms.host.Subscribes(topic, user)
	if before == after {
		return
	}
	if after {
		ms.here[k] = struct{}{}
	} else {
		delete(ms.here, k)
	}
	switch {
	case ms.clustered:
		ms.host.Observe(node.MemberChange{Topic: topic, User: user, Present: after})
	case known:
		ms.roster.Seed(topic, user)
	default:
		now := ms.host.Wall()
		ms.roster.Set(topic, user, after, now)
		ms.scheduleLocked(now)
	}
}

// scheduleLocked starts the timer, for what has changed and for the end of a grace period.
func (ms *Members) scheduleLocked(now time.Time) {
	at := ms.roster.Next()
	if ms.roster.Changed() {
		at = now.Add(every)
	}
	if ms.ended || at.IsZero() || !ms.due.IsZero() && !at.Before(ms.due) {
		return
	}
	ms.due = at
	ms.timer.Reset(at.Sub(now))
}

// Announce tells subscribers what has changed.
func (ms *Members) Announce() {
	ms.mu.Lock()
	if ms.roster == nil || ms.ended {
		ms.due = time.Time{}
		ms.mu.Unlock()
		return
	}
	now := ms.host.Wall()
	ms.roster.Expire(now)
	all := ms.roster.Flush()
	ms.mu.Unlock()
	for i := range all {
		ms.host.Publish(&all[i])
	}
	ms.mu.Lock() // so that announcements do not overtake each other
	defer ms.mu.Unlock()
	if ms.due = (time.Time{}); ms.roster != nil {
		ms.scheduleLocked(ms.host.Wall())
	}
}

// Pending reports the number of users who subscribe on this node, and whether something is still to
// be announced.
func (ms *Members) Pending() (here int, pending bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.here), ms.roster != nil && ms.roster.Changed() || !ms.due.IsZero()
}

// Lead makes this node of a cluster the one that announces, see package presence. present are the
// members that were announced.
func (ms *Members) Lead(present []node.MemberChange) {
	if ms == nil {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.roster = New(0) // package presence knows the grace period
	for _, c := range present {
		ms.roster.Seed(c.Topic, c.User)
	}
}

// Change announces changes in the whole cluster, on the node that leads.
func (ms *Members) Change(changes []node.MemberChange) {
	if ms == nil {
		return
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.roster == nil {
		return
	}
	now := ms.host.Wall()
	for _, c := range changes {
		ms.roster.Set(c.Topic, c.User, c.Present, now)
	}
	ms.scheduleLocked(now)
}

// Resign ends what Lead has begun.
func (ms *Members) Resign() {
	if ms != nil {
		ms.mu.Lock()
		ms.roster = nil
		ms.mu.Unlock()
	}
}

// End ends announcements.
func (ms *Members) End() {
	if ms != nil {
		ms.mu.Lock()
		ms.ended = true
		ms.timer.Stop()
		ms.mu.Unlock()
	}
}
