package replay

import (
	"fmt"
	"runtime/debug"
	"time"
)

// enqueue hands a session in state queued to the workers.
func (v *Service) enqueue(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.queue = append(v.queue, s)
	if v.started && v.workers < v.cfg.Workers {
		v.workers++
		v.background.Go(v.work)
	}
}

// wait enters a session in state waiting in the list that tick looks at.
func (v *Service) wait(s *session, d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = append(v.waiting, pause{s, v.cfg.Now().Add(d)})
}

// next removes the first session from the queue. It returns nil, and the worker has
// to end, if there is none.
func (v *Service) next(worker bool) *session {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 || worker && !v.started {
		if len(v.queue) == 0 {
			v.queue = nil // free the array that a storm of logins needed
		}
		if worker {
			v.workers--
		}
		return nil
	}
	s := v.queue[0]
	v.queue[0] = nil
	v.queue = v.queue[1:]
	return s
}

func (v *Service) work() {
	for s := v.next(true); s != nil; s = v.next(true) {
		v.serve(s)
	}
}

// serve does the work of one session until there is none, or it has to wait.
func (v *Service) serve(s *session) {
	defer func() {
		if p := recover(); p != nil {
			v.failed(s, p)
		}
	}()
	if !s.take() {
		return
	}
	for {
		j := s.plan()
		if j.kind == jobNone {
			return
		}
		// The state may leave working in apply, and another worker take the
		// session at once: whether to go on is decided in there.
		if !s.apply(j, v.perform(v.ctx, j)) {
			return
		}
	}
}

// failed ends a session whose work panicked.
func (v *Service) failed(s *session, p any) {
	v.counters.panics.Add(1)
	v.cfg.Logger.Error("replay panicked", "user", s.user, "panic", p, "stack", string(debug.Stack()))
	s.locked(func(s *session) { s.broken = true; s.end() })
	s.receiver.Fail(fmt.Errorf("replay panicked: %v", p))
}

func (s *session) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.move(evTake)
}
