package pace

import (
	"runtime"
	"sync"
	"time"
)

const (
	// Slice is how often a job delivers.
	Slice = 20 * time.Millisecond
	// Portion is how many receivers a job serves before reads and heartbeats get a chance to
	// run: 64 writes are about 0.4 ms. A Cancel waits at most this long.
	Portion = 64
)

// State is the state of a job.
type State uint8

// The states. A job leaves Running once.
const (
	Running  State = iota
	Done           // every receiver has been reached
	Canceled       // by Cancel
	Replaced       // by a job with the same key
	Stopped        // by Stop: the server ends
)

// Spec is what a Job does.
type Spec struct {
	// ID names the job. Key, if not empty, is what it shares with a job that it replaces.
	ID, Key string
	// Over is the time over which the deliveries are spread.
	Over time.Duration
	// Of is the number of receivers that is expected.
	Of int
	// Next delivers to at most n further receivers. It returns how many sessions it has
	// reached, how many of these accepted the message, and whether there may be more. It may
	// return before it has reached n.
	Next func(n int) (reached, accepted int, more bool)
	// Info says what the job is.
	Info Info
}

// Job is one paced delivery.
type Job struct {
	// Immutable.
	Spec
	Started time.Duration // by Config.Now

	// mu is held while a portion is delivered.
	mu       sync.Mutex
	state    State
	reached  int // guarded by mu, as all below
	accepted int
	ended    time.Duration // valid unless Running
}

// Progress is what a Job has done so far.
type Progress struct {
	State     State
	Receivers int           // that accepted the message
	Ended     time.Duration // valid unless Running
}

// Progress returns what the job has done so far.
func (j *Job) Progress() Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Progress{j.state, j.accepted, j.ended}
}

// due returns how many receivers are to be reached at a time. The end flushes what the
// expected number leaves out.
func (j *Job) due(now time.Duration) (n int, last bool) {
	passed := now - j.Started
	if passed >= j.Over {
		return 0, true
	}
	return int(float64(j.Of) * (float64(passed) / float64(j.Over))), false
}

// step delivers what is due. It reports whether the job is still running.
func (j *Job) step(now time.Duration) bool {
	for {
		again, running := j.portion(now)
		if !again {
			return running
		}
		runtime.Gosched()
	}
}

// portion delivers to one portion of what is due.
func (j *Job) portion(now time.Duration) (again, running bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != Running {
		return false, false
	}
	due, last := j.due(now)
	n := Portion
	if !last {
		n = min(n, due-j.reached)
	}
	if n <= 0 {
		return false, true
	}
	reached, accepted, more := j.Next(n)
	j.reached += reached
	j.accepted += accepted
	if !more {
		j.state, j.ended = Done, now
	}
	return more, more
}

// end ends a running job. It reports false if the job has ended before.
func (j *Job) end(s State, now time.Duration) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != Running {
		return false
	}
	j.state, j.ended = s, now
	j.Next = nil // so that the message can be freed
	return true
}
