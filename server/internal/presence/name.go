package presence

import (
	"encoding/hex"
	"time"
)

// ID identifies a node while it runs.
type ID [8]byte

// String returns the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Kind says what a Name names.
type Kind byte

const (
	User  Kind = 'u'
	Topic Kind = 't'
	// Member is a topic and a user who subscribes to it, separated by a line feed.
	Member Kind = 'm'
	// Channel is a topic of another dialect that has subscribers, and Occupant one with a member of it
	// and what is known of the member, each separated by a line feed.
	Channel  Kind = 'c'
	Occupant Kind = 'o'
)

// Name is a user, topic, member, channel or occupant: its kind, followed by its text.
type Name string

// NameOf returns the name with a kind and a text.
func NameOf(k Kind, text string) Name { return Name(string(rune(k)) + text) }

// Kind returns what the name names.
func (n Name) Kind() Kind { return Kind(n[0]) }

// Text returns the name without its kind.
func (n Name) Text() string { return string(n[1:]) }

// valid reports whether a name of another node is one.
func (n Name) valid() bool {
	if len(n) < 2 {
		return false
	}
	switch n.Kind() {
	case User, Topic, Member, Channel, Occupant:
		return true
	}
	return false
}

// Change is that a name has become present or absent in the cluster.
type Change struct {
	Name    Name
	Present bool
	// LastSeen is when the last node stopped holding it; zero: not known, or Present.
	LastSeen time.Time
}

const (
	// TickEvery is how often Tick is to be called.
	TickEvery = 250 * time.Millisecond
	// MaxStep is the most that a tick advances the clock.
	MaxStep = 2 * TickEvery
	// Lease is how long a node may be silent. With a round, and the time that a log takes,
	// absence is reported within 5 s of a node's death if the grace period is shorter.
	Lease = 3 * time.Second
	// beatEvery is how often a member is heard of by nodes other than the leader.
	beatEvery = time.Second
	// electStep separates the attempts of nodes to lead, in the order of their IDs.
	electStep = 200 * time.Millisecond
	// resendAfter is when a part that was not acknowledged is sent again.
	resendAfter = time.Second
	// maxPart bounds a part, in bytes of names, and maxItems in their number.
	maxPart, maxItems = 256 << 10, 8 << 10
	// maxBatch bounds the changes that are written together.
	maxBatch = 1000
)
