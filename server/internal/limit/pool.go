package limit

import (
	"container/list"
	"sync"
)

// Pool runs functions that may block, on a bounded number of goroutines. A function that
// waits for a place costs no goroutine; functions start in the order in which they came.
type Pool struct {
	size  int             // immutable
	start func(fn func()) // starts a goroutine; immutable

	mu      sync.Mutex
	running int       // goroutines; guarded by mu
	waiting list.List // of *Job; guarded by mu
}

// NewPool returns a Pool of up to size goroutines, which start starts.
func NewPool(size int, start func(fn func())) *Pool {
	return &Pool{size: size, start: start}
}

// Job is a function that was given to a Pool.
type Job struct {
	pool  *Pool
	run   func()
	place *list.Element // nil: it has started, or was canceled; guarded by pool.mu
}

// Go runs a function when there is a place for it.
func (p *Pool) Go(run func()) *Job {
	j := &Job{pool: p, run: run}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == p.size {
		j.place = p.waiting.PushBack(j)
		return j
	}
	p.running++
	p.start(func() { p.work(j) })
	return j
}

// Cancel takes the function back. It reports false if that has started already.
func (j *Job) Cancel() bool {
	j.pool.mu.Lock()
	defer j.pool.mu.Unlock()
	if j.place == nil {
		return false
	}
	j.pool.waiting.Remove(j.place)
	j.place = nil
	return true
}

// work runs one function after another until none waits.
func (p *Pool) work(j *Job) {
	for j != nil {
		j.run()
		j = p.next()
	}
}

// next takes the first function that waits. If there is none, the goroutine ends.
func (p *Pool) next() *Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.waiting.Front()
	if first == nil {
		p.running--
		return nil
	}
	j := p.waiting.Remove(first).(*Job)
	j.place = nil
	return j
}

// Load returns how many functions run and how many wait.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.waiting.Len()
}
