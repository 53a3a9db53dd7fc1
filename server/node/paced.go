package node

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MinPace and MaxPace bound Command.Over.
	MinPace = 100 * time.Millisecond
	MaxPace = time.Hour
	// maxPaceKey bounds Command.Key, in bytes, as names of users and topics.
	maxPaceKey = 256
	// PacedStampDigits is the length of the time in the ID of a paced broadcast, PacedIDSize
	// that of the ID.
	PacedStampDigits, PacedIDSize = 13, 13 + 8
)

// PacedState is the state of a paced broadcast.
type PacedState string

// The states of a paced broadcast. All but the first are final.
const (
	PacedRunning  PacedState = "running"
	PacedDone     PacedState = "done"     // every receiver has been reached
	PacedCanceled PacedState = "canceled" // by CancelPaced
	PacedReplaced PacedState = "replaced" // by one with the same key
	PacedStopped  PacedState = "stopped"  // the server has begun to drain
)

// PacedBroadcast describes a paced broadcast: on one node in a Reply, otherwise on all nodes
// that have answered.
type PacedBroadcast struct {
	ID    string     `json:"id"` // unique in the cluster
	Key   string     `json:"key,omitempty"`
	Topic string     `json:"topic,omitempty"` // empty: to every session that has a user
	State PacedState `json:"state"`
	// Receivers is the number of sessions that the message was written or queued to so far,
	// Of the number of sessions that were to receive it at the start.
	Receivers int       `json:"receivers"`
	Of        int       `json:"of"`
	Started   time.Time `json:"started"`
	Until     time.Time `json:"until"`
	Ended     time.Time `json:"ended,omitzero"` // zero while it is running
}

// PacedDelivery is a paced broadcast, and whether every node has answered.
type PacedDelivery struct {
	PacedBroadcast
	Coverage
}

// PacedList is a list of paced broadcasts, and whether every node has answered.
type PacedList struct {
	Broadcasts []PacedBroadcast // in the order in which they were started
	Coverage
}

// MergePaced adds to b what another node says about the same broadcast.
func MergePaced(b *PacedBroadcast, other PacedBroadcast) {
	b.Receivers += other.Receivers
	b.Of += other.Of
	if other.Started.Before(b.Started) {
		b.Started = other.Started
	}
	if other.Until.After(b.Until) {
		b.Until = other.Until
	}
	if other.Ended.After(b.Ended) {
		b.Ended = other.Ended
	}
	// It is running while a node has it running; otherwise what cut it short says more than
	// that another node was done.
	rank := []PacedState{PacedDone, PacedStopped, PacedReplaced, PacedCanceled, PacedRunning}
	if slices.Index(rank, other.State) > slices.Index(rank, b.State) {
		b.State = other.State
	}
	if b.State == PacedRunning {
		b.Ended = time.Time{}
	}
}

// CheckPaced returns what is wrong with a command to start a paced broadcast, except its
// payload. durable reports whether a topic is durable.
func CheckPaced(c *Command, durable func(topic string) bool) error {
	to := &c.Audience
	if err := to.Check(); err != nil {
		return err
	}
	switch {
	case len(to.Users) > 0 || !to.Everyone && len(to.Topics) != 1:
		return AudienceErrorf("a paced broadcast goes to everyone or to one topic")
	case len(to.Topics) == 1 && durable(to.Topics[0]):
		return AudienceErrorf("topic %q is durable: its messages are stored, and cannot be paced", to.Topics[0])
	case c.Over < MinPace || c.Over > MaxPace:
		return AudienceErrorf("over is %v: want %v to %v", c.Over, MinPace, MaxPace)
	case len(c.Key) > maxPaceKey || !utf8.ValidString(c.Key):
		return AudienceErrorf("key %.40q of %d bytes: want UTF-8 of at most %d bytes", c.Key, len(c.Key), maxPaceKey)
	}
	return CheckPacedID(c.ID)
}

// CheckPacedID returns an error unless id is the ID of a paced broadcast: the time in microseconds
// and a random number, in hexadecimal digits. Of two with the same key the one with the greater
// ID wins.
func CheckPacedID(id string) error {
	// The highest digits of a time in this millennium are 0.
	if len(id) != PacedIDSize || strings.Trim(id, "0123456789abcdef") != "" || id[0] > '7' {
		return fmt.Errorf("invalid ID %.40q of a paced broadcast", id)
	}
	return nil
}

// MergePacedLists merges what several nodes say about the same paced broadcasts, or closes, and
// sorts them in the order in which they were started. paced returns what is merged of one.
func MergePacedLists[T any](said []T, paced func(*T) *PacedBroadcast) (merged []T) {
	byID := make(map[string]int)
	for i := range said {
		b := paced(&said[i])
		if at, known := byID[b.ID]; known {
			MergePaced(paced(&merged[at]), *b)
			continue
		}
		byID[b.ID] = len(merged)
		merged = append(merged, said[i])
	}
	slices.SortFunc(merged, func(x, y T) int { return strings.Compare(paced(&x).ID, paced(&y).ID) })
	return merged
}
