package replay

import (
	"sync"
	"sync/atomic"

	"fanfare/server/store"
)

// codeTooBig is the close code of a client that received a message larger than it
// accepts (RFC 6455, 7.4.1).
const codeTooBig = 1009

// mostRefusals bounds the table: about 1 MiB with the longest names. The oldest
// entry makes room, and its message is tried again.
const mostRefusals = 4096

// refusals counts how often clients of a user closed with 1009 while a message was
// in flight. Only the largest message in flight is counted: if any was too big for
// the client, that was. When it is sent again it is alone in flight, so that the
// second refusal concerns no other stored message.
type refusals struct {
	some atomic.Bool // the table is not empty

	mu     sync.Mutex
	counts map[refusalKey]int // guarded by mu
	order  []refusalKey       // guarded by mu; with keys that were forgotten
}

type refusalKey struct {
	user   string
	box    store.Box
	epoch  string
	offset uint64
}

func (m *inFlight) key(user string) refusalKey {
	return refusalKey{user, m.stream.box, m.epoch, m.offset}
}

func (t *refusals) add(k refusalKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[refusalKey]int)
	}
	if t.counts[k]++; t.counts[k] == 1 {
		t.order = append(t.order, k)
	}
	for len(t.order) > mostRefusals {
		delete(t.counts, t.order[0])
		t.order = t.order[1:]
	}
	t.some.Store(true)
}

func (t *refusals) count(k refusalKey) int {
	if !t.some.Load() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[k]
}

func (t *refusals) forget(k refusalKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, k)
	if len(t.counts) == 0 {
		t.order = nil
		t.some.Store(false)
	}
}

// blame counts the refusal of the message that the client most likely refused.
func (s *session) blame() {
	worst := s.largest
	if s.ping != nil && s.ping.largest.cost >= worst.cost {
		worst = s.ping.largest
	}
	if s.alone != nil {
		worst = *s.alone
	}
	if worst.stream == nil || s.discarded.Load() {
		return
	}
	s.svc.counters.refused.Add(1)
	s.svc.refusals.add(worst.key(s.user))
}
