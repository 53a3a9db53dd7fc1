package peers

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// A hub is the registry of sessions: maps under one mutex, as in the examples of all libraries.
type hub[C comparable] struct {
	mu     sync.RWMutex
	users  map[string][]C
	topics map[string][]C
	count  int
}

func newHub[C comparable]() *hub[C] {
	return &hub[C]{users: map[string][]C{}, topics: map[string][]C{}}
}

func (h *hub[C]) add(c C, r route) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	h.users[r.user] = append(h.users[r.user], c)
	for _, t := range r.topics {
		h.topics[t] = append(h.topics[t], c)
	}
}

func (h *hub[C]) remove(c C, r route) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	drop(h.users, r.user, c)
	for _, t := range r.topics {
		drop(h.topics, t, c)
	}
}

func drop[C comparable](m map[string][]C, key string, c C) {
	list := m[key]
	if i := slices.Index(list, c); i >= 0 {
		list[i] = list[len(list)-1]
		list = list[:len(list)-1]
	}
	if len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}

func (h *hub[C]) all() []C {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]C, 0, h.count)
	for _, list := range h.users {
		all = append(all, list...)
	}
	return all
}

func (h *hub[C]) user(name string) []C {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.users[name])
}

func (h *hub[C]) topic(name string) []C {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.topics[name])
}

func (h *hub[C]) size() (sessions, users int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.count, len(h.users)
}

// beat pings every connection once per interval, from one goroutine: the heartbeat with the least memory. It pings a tenth
// of the connections at a time, to avoid a burst.
func (h *hub[C]) beat(interval time.Duration, ping func(C)) {
	const parts = 10
	ticks := time.NewTicker(interval / parts).C
	for {
		all := h.all()
		for i := range parts {
			for _, c := range all[len(all)*i/parts : len(all)*(i+1)/parts] {
				ping(c)
			}
			<-ticks
		}
	}
}

// parallel calls send for each connection, on as many goroutines as there are Ps.
func parallel[C any](to []C, send func(C)) {
	n := runtime.GOMAXPROCS(0)
	if len(to) < 64 {
		n = 1
	}
	var all sync.WaitGroup
	for i := 1; i < n; i++ {
		part := to[len(to)*i/n : len(to)*(i+1)/n]
		all.Go(func() {
			for _, c := range part {
				send(c)
			}
		})
	}
	for _, c := range to[:len(to)/n] {
		send(c)
	}
	all.Wait()
}
