package pace

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxRunning bounds the jobs under way.
	MaxRunning = 32
	// maxEnded bounds the jobs that have ended and are still listed.
	maxEnded = 64
)

var (
	// ErrFull: MaxRunning jobs are under way.
	ErrFull = errors.New("too many are under way")
	// ErrStopped: Stop was called.
	ErrStopped = errors.New("the server is shutting down")
	// ErrExists: there is a job with this ID.
	ErrExists = errors.New("the ID is in use")
)

// Config is what a Table needs.
type Config struct {
	Now   func() time.Duration // the clock
	Go    func(func())         // starts a goroutine
	Ended func(*Job, Progress) // is called when a job that ran has ended; may be nil
}

// Table has the jobs of one server. Its methods may be called by any number of goroutines.
type Table struct {
	cfg Config

	mu      sync.Mutex
	jobs    []*Job // in the order in which they were started; guarded by mu
	stopped bool   // guarded by mu

	stamp atomic.Uint64 // the greatest time in an ID
}

// NewTable returns a Table without jobs.
func NewTable(cfg Config) *Table {
	if cfg.Ended == nil {
		cfg.Ended = func(*Job, Progress) {}
	}
	return &Table{cfg: cfg}
}

// Start starts a job. It ends the job under way that has the same key; if that has a greater
// ID, it is the new job that ends at once, as Replaced.
func (t *Table) Start(s Spec) (*Job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := &Job{Spec: s, Started: t.cfg.Now()}
	var old *Job
	running := 0
	for _, other := range t.jobs {
		if other.ID == s.ID {
			return nil, ErrExists
		}
		if other.Progress().State != Running {
			continue
		}
		running++
		if s.Key != "" && other.Key == s.Key {
			old = other
		}
	}
	switch {
	case t.stopped:
		return nil, ErrStopped
	case old != nil && old.ID > s.ID:
		j.end(Replaced, j.Started)
	case old != nil:
		old.end(Replaced, j.Started)
	case running >= MaxRunning:
		return nil, ErrFull
	}
	t.jobs = append(t.forgetLocked(), j)
	if j.Progress().State == Running {
		t.cfg.Go(func() { t.run(j) })
	}
	return j, nil
}

// forgetLocked returns the jobs with room for one more, without the oldest that have ended.
func (t *Table) forgetLocked() []*Job {
	for n := len(t.jobs) - maxEnded; n >= 0; n-- {
		i := slices.IndexFunc(t.jobs, func(j *Job) bool { return j.Progress().State != Running })
		if i < 0 {
			break
		}
		t.jobs = slices.Delete(t.jobs, i, i+1)
	}
	return t.jobs
}

// run delivers until the job has ended.
func (t *Table) run(j *Job) {
	ticker := time.NewTicker(Slice)
	defer ticker.Stop()
	for j.step(t.cfg.Now()) {
		<-ticker.C
	}
	j.mu.Lock()
	j.Next = nil
	j.mu.Unlock()
	t.cfg.Ended(j, j.Progress())
}

// Cancel ends a job that is under way. It returns the job, nil if there is none.
func (t *Table) Cancel(id string) *Job {
	j := t.Find(id)
	if j != nil {
		j.end(Canceled, t.cfg.Now())
	}
	return j
}

// Find returns a job, nil if there is none.
func (t *Table) Find(id string) *Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.IndexFunc(t.jobs, func(j *Job) bool { return j.ID == id }); i >= 0 {
		return t.jobs[i]
	}
	return nil
}

// List returns the jobs in the order in which they were started: those under way, and the
// last that have ended.
func (t *Table) List() []*Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.jobs)
}

// Stop ends all jobs, and further calls of Start fail.
func (t *Table) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, j := range t.jobs {
		j.end(Stopped, t.cfg.Now())
	}
}
