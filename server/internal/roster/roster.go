package roster

import (
	"maps"
	"slices"
	"time"
)

// MaxListed is the number of members of a topic up to which they are named, and of names in an
// announcement.
const MaxListed = 100

// Roster is the members of topics. Its methods must not be called concurrently.
type Roster struct {
	grace   time.Duration
	topics  map[string]*topic
	changed map[string]struct{} // topics, since Flush
	leaving []leave             // in the order of due, because grace is constant; some were canceled
}

// topic is the members of one topic.
type topic struct {
	members      map[string]time.Time // when the membership ends; zero: the user is there
	joined, left map[string]struct{}  // since Flush
	announced    int                  // the number that was announced last
}

// leave is a user whose grace period runs.
type leave struct {
	topic, user string
	due         time.Time
}

// Announcement is what the members of a topic are told.
type Announcement struct {
	Topic   string
	Members int
	// Joined and Left are sorted; both are nil if only the number is announced.
	Joined, Left []string
}

// New returns a Roster without members.
func New(grace time.Duration) *Roster {
	return &Roster{grace: grace, topics: make(map[string]*topic), changed: make(map[string]struct{})}
}

func (r *Roster) topic(name string) *topic {
	t := r.topics[name]
	if t == nil {
		t = &topic{members: make(map[string]time.Time), joined: make(map[string]struct{}), left: make(map[string]struct{})}
		r.topics[name] = t
	}
	return t
}

// Seed adds a member that was announced before.
func (r *Roster) Seed(name, user string) {
	t := r.topic(name)
	t.members[user] = time.Time{}
	t.announced = len(t.members)
}

// Set records whether a user is there.
func (r *Roster) Set(name, user string, present bool, now time.Time) {
	if !present {
		t := r.topics[name]
		if t == nil {
			return
		}
		if ends, member := t.members[user]; !member || !ends.IsZero() {
			return
		}
		if r.grace == 0 {
			r.remove(name, user)
			return
		}
		l := leave{name, user, now.Add(r.grace)}
		t.members[user] = l.due
		r.leaving = append(r.leaving, l)
		return
	}
	t := r.topic(name)
	_, member := t.members[user]
	t.members[user] = time.Time{}
	if member {
		return
	}
	if _, left := t.left[user]; left {
		delete(t.left, user)
	} else {
		t.joined[user] = struct{}{}
	}
	r.changed[name] = struct{}{}
}

func (r *Roster) remove(name, user string) {
	t := r.topics[name]
	delete(t.members, user)
	if _, joined := t.joined[user]; joined {
		delete(t.joined, user)
	} else {
		t.left[user] = struct{}{}
	}
	r.changed[name] = struct{}{}
}

// Expire removes the users whose grace period has ended.
func (r *Roster) Expire(now time.Time) {
	n := 0
	for ; n < len(r.leaving) && !r.leaving[n].due.After(now); n++ {
		l := r.leaving[n]
		if t := r.topics[l.topic]; t != nil && t.members[l.user].Equal(l.due) { // else the user has come back
			r.remove(l.topic, l.user)
		}
	}
	if r.leaving = r.leaving[n:]; len(r.leaving) == 0 {
		r.leaving = nil // releases the memory
	}
}

// Next returns when Expire is to be called, zero if never.
func (r *Roster) Next() time.Time {
	if len(r.leaving) == 0 {
		return time.Time{}
	}
	return r.leaving[0].due
}

// Changed reports whether Flush may have something to announce.
func (r *Roster) Changed() bool { return len(r.changed) > 0 }

// Flush returns what is to be announced of the changes since the last call.
func (r *Roster) Flush() (all []Announcement) {
	for _, name := range slices.Sorted(maps.Keys(r.changed)) {
		t := r.topics[name]
		count, names := len(t.members), len(t.joined)+len(t.left)
		a := Announcement{Topic: name, Members: count}
		switch {
		case names == 0:
		case count <= MaxListed && names <= MaxListed:
			a.Joined, a.Left = slices.Sorted(maps.Keys(t.joined)), slices.Sorted(maps.Keys(t.left))
			all, t.announced = append(all, a), count
		case max(count-t.announced, t.announced-count) >= max(1, count/100):
			all, t.announced = append(all, a), count
		}
		clear(t.joined)
		clear(t.left)
		if count == 0 {
			delete(r.topics, name)
		}
	}
	clear(r.changed)
	return all
}
