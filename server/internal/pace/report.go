package pace

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"fanfare/server/internal/operate"
	"fanfare/server/node"
)

// Info is what a job is: a paced broadcast, or a paced close.
type Info struct {
	Topic   string // of the broadcast; empty: to every session
	Started time.Time
	Close   *operate.Question // what a paced close does; nil: it is a broadcast
}

// states are the names of the states of a job.
var states = [...]node.PacedState{
	Running: node.PacedRunning, Done: node.PacedDone, Canceled: node.PacedCanceled, Replaced: node.PacedReplaced, Stopped: node.PacedStopped,
}

// String returns the name of the state.
func (s State) String() string { return string(states[s]) }

// Broadcast describes a job, as a paced broadcast.
func (j *Job) Broadcast() node.PacedBroadcast {
	p := j.Progress()
	started := j.Info.Started.UTC().Round(0)
	b := node.PacedBroadcast{ID: j.ID, Key: j.Key, Topic: j.Info.Topic, State: states[p.State],
		Receivers: p.Receivers, Of: j.Of, Started: started, Until: started.Add(j.Over)}
	if p.State != Running {
		b.Ended = started.Add(p.Ended - j.Started)
	}
	return b
}

// Close describes the job of a paced close.
func (j *Job) Close() node.PacedClose {
	q := j.Info.Close
	c := node.PacedClose{PacedBroadcast: j.Broadcast(), Users: q.Users, All: q.All, Node: q.Node, Where: q.Where, Code: q.Code, Reason: q.Reason}
	c.Topic = q.Topic
	return c
}

// Broadcasts describes the paced broadcasts with an ID, all if it is empty, and cancels them first
// if cancel is set.
func (t *Table) Broadcasts(id string, cancel bool) (list []node.PacedBroadcast) {
	for _, j := range t.jobsOf(id, false, cancel) {
		list = append(list, j.Broadcast())
	}
	return list
}

// Closes is Broadcasts for paced closes.
func (t *Table) Closes(id string, cancel bool) (list []node.PacedClose) {
	for _, j := range t.jobsOf(id, true, cancel) {
		list = append(list, j.Close())
	}
	return list
}

func (t *Table) jobsOf(id string, closes, cancel bool) (list []*Job) {
	for _, j := range t.List() {
		if j.Info.Close != nil != closes || id != "" && id != j.ID {
			continue
		}
		if cancel {
			t.Cancel(j.ID)
		}
		list = append(list, j)
	}
	return list
}

// NewID returns an ID, see node.CheckPacedID: the time in microseconds and a random
// number. Of two broadcasts with the same key the one with the greater ID wins, so it is
// greater than all that this node has seen, even if the clock of another is ahead.
func (t *Table) NewID(now time.Time) string {
	for {
		last := t.stamp.Load()
		stamp := max(uint64(now.UnixMicro()), last+1)
		if t.stamp.CompareAndSwap(last, stamp) {
			return fmt.Sprintf("%0*x%08x", node.PacedStampDigits, stamp, rand.Uint32())
		}
	}
}

// NoteID keeps NewID ahead of the ID of another node.
func (t *Table) NoteID(id string) {
	stamp, _ := strconv.ParseUint(id[:node.PacedStampDigits], 16, 64)
	for last := t.stamp.Load(); stamp > last && !t.stamp.CompareAndSwap(last, stamp); {
		last = t.stamp.Load()
	}
}
