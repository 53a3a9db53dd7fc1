package natsconn

import (
	"sync"
	"time"
)

// repeated limits log lines that recur, such as a missing permission, to one a
// minute for each text. The zero value is ready.
type repeated struct {
	mu     sync.Mutex
	logged map[string]time.Time // guarded by mu
}

// repeatedTexts bounds the texts that are remembered.
const repeatedTexts = 100

func (r *repeated) allow(text string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.logged[text]; ok && now.Sub(at) < time.Minute {
		return false
	}
	if r.logged == nil || len(r.logged) >= repeatedTexts {
		r.logged = make(map[string]time.Time)
	}
	r.logged[text] = now
	return true
}
