package replay

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"fanfare/server/store"
)

// codeTooBig is the close code of a client that received a message larger than it
// accepts (RFC 6455, 7.4.1).
const codeTooBig = 1009

// mostFailures bounds the table: about 1 MiB with the longest names. The oldest
// entry makes room, and its message is tried again.
const mostFailures = 4096

// mostTries is how often a message is tried before it is skipped.
const mostTries = 2

// failures counts how often delivery of a message to a user failed because of the
// message.
//
// A client may have closed with 1009 while the message was in flight. Only the largest
// message in flight is counted: if any was too big for the client, that was. When it
// is sent again it is alone in flight, so that the second failure concerns no other
// stored message.
//
// Or Receiver.Encode may have returned nil for the message. This is counted for each dialect, as another
// dialect may be able to encode the message.
type failures struct {
	some atomic.Bool // the table is not empty

	mu     sync.Mutex
	counts map[failureKey]failure // guarded by mu
	order  []failureKey           // guarded by mu; with keys that were forgotten
}

type failureKey struct {
	user    string
	box     store.Box
	epoch   string
	offset  uint64
	dialect any // that cannot encode the message; nil: clients closed with 1009
}

type failure struct {
	count  int
	logged bool // that the message is skipped
}

func (m *inFlight) key(user string) failureKey {
	return failureKey{user: user, box: m.stream.box, epoch: m.epoch, offset: m.offset}
}

// add counts a failure, and returns how many there were.
func (t *failures) add(k failureKey) (count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[failureKey]failure)
	}
	r := t.counts[k]
	r.count++
	t.counts[k] = r
	if r.count == 1 {
		t.order = append(t.order, k)
	}
	for len(t.order) > mostFailures {
		delete(t.counts, t.order[0])
		t.order = t.order[1:]
	}
	t.some.Store(true)
	return r.count
}

func (t *failures) count(k failureKey) int {
	if !t.some.Load() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[k].count
}

// log reports whether the skip of a message has still to be logged, once for each
// entry of the table.
func (t *failures) log(k failureKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.counts[k]
	if r.count == 0 || r.logged {
		return false
	}
	r.logged = true
	t.counts[k] = r
	return true
}

func (t *failures) forget(k failureKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, k)
	if len(t.counts) == 0 {
		t.order = nil
		t.some.Store(false)
	}
}

// skipFailed passes over a message whose delivery has failed mostTries times.
func (s *session) skipFailed(st *stream, k failureKey, reason string) {
	s.svc.counters.skipped.Add(1)
	if s.svc.failures.log(k) {
		s.svc.cfg.Logger.Warn("stored message skipped", "reason", reason,
			"user", s.reader(st), "topic", st.box.Topic, "offset", k.offset)
	}
	s.skip(st, k.offset)
}

// ErrEncode is the error of Receiver.Fail for a message that cannot be encoded.
var ErrEncode = errors.New("replay: a stored message cannot be encoded")

// encode returns the frame of a message. It is nil if the receiver cannot encode the
// message: the first time that ends the session, since a reconnect may help, and the
// second time the message is skipped.
func (s *session) encode(st *stream, m *Message) Frame {
	k := failureKey{user: s.reader(st), box: st.box, epoch: st.epoch, offset: m.Offset}
	if s.svc.failures.some.Load() {
		k.dialect = s.receiver.Dialect()
		if s.svc.failures.count(k) >= mostTries {
			s.skipFailed(st, k, cannotEncode)
			return nil
		}
	}
	f := s.receiver.Encode(m)
	if f != nil {
		return f
	}
	k.dialect = s.receiver.Dialect()
	if s.svc.failures.add(k) >= mostTries {
		s.skipFailed(st, k, cannotEncode)
		return nil
	}
	s.broken = true
	s.receiver.Fail(fmt.Errorf("%w: user %q, topic %q, offset %d", ErrEncode, s.reader(st), st.box.Topic, m.Offset))
	return nil
}

// Reasons for which a message is skipped.
const (
	cannotEncode = "the dialect failed to encode it twice"
	tooBig       = "clients closed with 1009 twice"
)

// blame is called when a client has closed with 1009. It counts a failure of the message
// that was most likely too big for the client.
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
	s.svc.counters.tooBig.Add(1)
	s.svc.failures.add(worst.key(s.reader(worst.stream)))
}
