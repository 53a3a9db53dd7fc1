package replay

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/store"
)

// session is the state of one receiver. A receiver that has nothing
// stored, no durable topic and no explicit acknowledgements has none.
//
// Every event locks mu, moves the state and writes to the receiver before it
// unlocks, so that events of one session have one order. A worker unlocks mu while
// it waits for the store, and checks the state anew when it has locked mu again.
type session struct {
	// Immutable.
	svc      *Service
	receiver Receiver
	user     string
	acks     AckMode
	pings    bool
	second   bool // created for the second look of Config.Settle

	// discarded: messages were dropped from the outbound queue, so no pong
	// acknowledges anything any more. Atomic, as Discard is called from below mu.
	discarded atomic.Bool

	mu sync.Mutex
	// All below: guarded by mu.
	state  state
	broken bool // the receiver did not accept a message; nothing is written any more
	used   bool // a message was written, and so the session stays for the next one
	inbox  stream
	topics []*stream
	// readers are the users whose positions in topics it uses, in place of its own user's; nil
	// for most sessions.
	readers map[string]string

	// Flow.
	flight  int          // bytes written and not covered by a pong
	largest inFlight     // of the messages that no ping follows yet
	alone   *inFlight    // a message that failed before is in flight on its own
	ping    *outstanding // the ping that is outstanding; nil: none
	noAcks  bool         // the client does not answer pings properly

	// Live messages that are held.
	holding   bool
	releasing bool // they are flushed as the queue has room
	held      []Frame
	heldBytes int
	heldSince time.Time
}

// move makes one step of the state machine. The caller holds mu.
func (s *session) move(e event) (listed bool) {
	s.state, listed = step(s.state, e)
	return listed
}

// wake has a worker look for work. The caller holds mu.
func (s *session) wake() {
	if s.move(evWork) {
		s.svc.enqueue(s)
	}
}

// pause makes the worker leave the session until d has passed. The caller holds mu.
func (s *session) pause(d time.Duration) {
	if s.move(evWait) {
		s.svc.wait(s, d)
	}
}

// end removes the session. The caller holds mu.
func (s *session) end() { s.endAt(left{}) }

// dispose removes a session that is disposable. The next session of the receiver
// begins at the position of this one, not at the one that the user has acknowledged by then. The
// caller holds mu.
func (s *session) dispose() {
	switch st := &s.inbox; {
	case st.placed && st.sent > 0:
		s.endAt(left{st.epoch, st.sent, st.from})
	case st.placed: // the inbox was empty, and Receiver.Since says enough
		s.end()
	default:
		s.endAt(left{st.start.Epoch, st.start.Offset, st.from})
	}
}

func (s *session) endAt(at left) {
	if s.state == closed {
		return
	}
	s.move(evEnd)
	s.svc.remove(s, at)
	s.dropHeld()
	for _, st := range s.topics {
		st.ended = true
	}
}

// stopped reports whether nothing may be written any more. The caller holds mu.
func (s *session) stopped() bool {
	return s.broken || s.discarded.Load() || s.receiver.Phase() != Open
}

// reader returns the user whose position in a stream it is. The caller holds mu.
func (s *session) reader(st *stream) string {
	if s.readers != nil && st != nil {
		if reader, ok := s.readers[st.box.Topic]; ok {
			return reader
		}
	}
	return s.user
}

// readAs sets the reader of a topic; empty: the session's user. The caller holds mu.
func (s *session) readAs(topic, reader string) {
	switch {
	case reader == "":
		delete(s.readers, topic)
	case s.readers == nil:
		s.readers = make(map[string]string)
		fallthrough
	default:
		s.readers[strings.Clone(topic)] = strings.Clone(reader)
	}
}

// stream returns the stream of a box, nil if the session has none. The caller holds mu.
func (s *session) stream(b store.Box) *stream {
	if b.User != "" {
		if b.User != s.user {
			return nil
		}
		return &s.inbox
	}
	for _, st := range s.topics {
		if st.box.Topic == b.Topic {
			return st
		}
	}
	return nil
}

// add returns the stream of a topic and whether it is new. The caller holds mu.
func (s *session) add(sub Subscription) (st *stream, added bool) {
	if st := s.stream(store.Box{Topic: sub.Topic}); st != nil {
		if sub.Exempt && !st.exempt {
			st.exempt, st.overQuota = true, false
			s.report(st)
		}
		return st, false
	}
	s.readAs(sub.Topic, sub.Reader)
	st = newTopicStream(sub, s.svc.cfg.Now())
	s.topics = append(s.topics, st)
	return st, true
}

// each calls f for all streams, the inbox first, until it returns false.
func (s *session) each(f func(*stream) bool) {
	if !f(&s.inbox) {
		return
	}
	for _, st := range s.topics {
		if !f(st) {
			return
		}
	}
}

// disposable reports whether the session needs no state: the next notice creates a new
// one. The caller holds mu.
func (s *session) disposable() bool {
	return !s.used && !s.holding && len(s.topics) == 0 && s.acks != AckExplicit
}

// hasWork reports whether a worker would find something to do, given room. The
// caller holds mu.
func (s *session) hasWork() (work bool) {
	s.each(func(st *stream) bool {
		work = !st.placed || st.check || st.pending()
		return !work
	})
	return work
}
