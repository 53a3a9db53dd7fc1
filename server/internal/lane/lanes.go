package lane

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Config bounds Lanes. All fields are required.
type Config struct {
	Goroutines int // functions that run at a time
	PerKey     int // functions of one key, including the one that runs
	Total      int // functions that wait, of all keys
	Bytes      int // sizes of all functions together
	// Start starts a goroutine.
	Start func(fn func())
}

// The reasons why a function is rejected.
var (
	ErrKeyFull = errors.New("lane: too many functions of this key are waiting")
	ErrFull    = errors.New("lane: too many functions are waiting")
)

// Lanes run functions in the order of their keys. They are safe for concurrent use.
type Lanes[K comparable] struct {
	cfg  Config
	size atomic.Int64 // functions; written with mu held

	mu      sync.Mutex
	of      map[K]*lane[K]  // of keys with a function; guarded by mu
	ready   []*lane[K]      // wait for a goroutine, in their order; guarded by mu
	running int             // goroutines; guarded by mu
	bytes   int             // guarded by mu
	idle    []chan struct{} // closed when no function is left; guarded by mu
}

// lane has the functions of one key, the first of which may run.
type lane[K comparable] struct {
	key  K
	jobs []job
}

type job struct {
	run  func()
	size int
}

// New returns Lanes without functions.
func New[K comparable](cfg Config) *Lanes[K] {
	return &Lanes[K]{cfg: cfg, of: make(map[K]*lane[K])}
}

// Go runs a function after all that were given for the key before. size is the memory that
// it holds. The error is ErrKeyFull or ErrFull, and the function does not run then.
func (l *Lanes[K]) Go(key K, size int, run func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.of[key]
	switch {
	case ln != nil && len(ln.jobs) >= l.cfg.PerKey:
		return ErrKeyFull
	case int(l.size.Load())-l.running >= l.cfg.Total || l.bytes+size > l.cfg.Bytes:
		return ErrFull
	}
	l.size.Add(1)
	l.bytes += size
	if ln != nil {
		ln.jobs = append(ln.jobs, job{run, size})
		return nil
	}
	ln = &lane[K]{key: key, jobs: []job{{run, size}}}
	l.of[key] = ln
	if l.running == l.cfg.Goroutines {
		l.ready = append(l.ready, ln)
		return nil
	}
	l.running++
	l.cfg.Start(func() { l.work(ln) })
	return nil
}

// work runs the first function of one lane after another until none waits.
func (l *Lanes[K]) work(ln *lane[K]) {
	for ln != nil {
		l.first(ln)()
		ln = l.next(ln)
	}
}

// first returns the function of a lane that runs next. Go may append others meanwhile.
func (l *Lanes[K]) first(ln *lane[K]) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ln.jobs[0].run
}

// next removes the function of a lane that has returned, and returns the lane whose turn it
// is, nil if none has functions.
func (l *Lanes[K]) next(ln *lane[K]) *lane[K] {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size.Add(-1)
	l.bytes -= ln.jobs[0].size
	ln.jobs[0] = job{}
	if ln.jobs = ln.jobs[1:]; len(ln.jobs) == 0 {
		delete(l.of, ln.key)
	} else {
		l.ready = append(l.ready, ln)
	}
	if len(l.ready) > 0 {
		first := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		return first
	}
	if l.running--; len(l.of) == 0 {
		for _, c := range l.idle {
			close(c)
		}
		l.ready, l.idle = nil, nil
	}
	return nil
}

// Busy reports whether a function of the key waits or runs.
func (l *Lanes[K]) Busy(key K) bool {
	if l.size.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[key] != nil
}

// Len returns how many functions wait or run.
func (l *Lanes[K]) Len() int { return int(l.size.Load()) }

// Wait returns when no function is left, or with the error of ctx.
func (l *Lanes[K]) Wait(ctx context.Context) error {
	l.mu.Lock()
	if len(l.of) == 0 {
		l.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	l.idle = append(l.idle, done)
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
