package server

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/inbox"
)

// mailbox is what a session needs while stored messages are on their way to it.
// Sessions that never get one, and follow no durable topic, have none.
//
// Whoever holds the turn sends. Others leave word and go: want says what there is
// to send, question what has arrived, and the turn's word that somebody was here.
//
//	idle ──take──▶ held ──take──▶ again        give: held ──▶ idle
//	                │               └─give──▶ held, and its holder looks once more
//	                └──▶ dead: nobody uses it any more
type mailbox struct {
	session *Session // immutable

	// Atomic.
	turn     atomic.Uint32
	question atomic.Pointer[question] // the ping that is open; nil: none
	// recheck: something may have been stored that nobody told us.
	recheck atomic.Bool

	mu sync.Mutex
	// tracks: the user's inbox is the first, durable topics follow. Replaced, not
	// written to. guarded by mu
	tracks []*track
	hold   hold // guarded by mu

	// Owned by the turn.
	asked  *question // the last ping, until its answer was looked at
	stuck  bool      // the kernel did not take all
	flight int       // bytes that were sent and not answered for
	serial uint64    // of pings about topics
}

// track is one box of a mailbox, and how far the session is in it.
type track struct {
	// Immutable.
	box     inbox.Box
	topic   string // empty: the user's inbox
	resume  uint64 // the client says that it has everything up to here
	resumes bool
	since   time.Time // when a topic was followed

	// Atomic.
	want  atomic.Uint64 // the last offset that is known to be stored
	place atomic.Uint64 // what the user of a topic has acknowledged here
	ended atomic.Bool   // the session follows no longer

	// Owned by the turn.
	known   bool     // sent is
	greeted bool     // the client was told
	gap     bool     // something is missing before the next message
	sent    uint64   // everything up to here was sent
	pinged  uint64   // and up to here there was a ping
	rest    []uint64 // offsets of what is to be sent next
	tries   int
}

// question is a ping behind stored messages.
type question struct {
	payload []byte
	flight  int // the bytes that it is about
	marks   []mark
}

// mark says that everything up to an offset was sent.
type mark struct {
	track  *track
	offset uint64
}

const (
	idle uint32 = iota
	held
	again
	dead
)

// take takes the turn, or leaves word that somebody wanted it.
func (m *mailbox) take() (ok, gone bool) {
	for {
		switch was := m.turn.Load(); was {
		case idle:
			if m.turn.CompareAndSwap(idle, held) {
				return true, false
			}
		case held:
			if m.turn.CompareAndSwap(held, again) {
				return false, false
			}
		case again:
			return false, false
		case dead:
			return false, true
		}
	}
}

// release gives the turn back. It reports false, and the turn is still held, if
// there is something to look at.
func (m *mailbox) release() bool {
	for {
		switch m.turn.Load() {
		case held:
			if m.turn.CompareAndSwap(held, idle) {
				return true
			}
		case again:
			m.turn.Store(held)
			return false
		case dead:
			return true
		}
	}
}

// die ends a mailbox that has nothing to do, if the turn is held, nobody wants
// it and there is no topic.
func (m *mailbox) die() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tracks) == 1 && m.turn.CompareAndSwap(held, dead)
}

// all are the tracks.
func (m *mailbox) all() []*track {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracks
}

// track returns that of a topic, the inbox's for none, nil if there is none.
func (m *mailbox) track(topic string) *track {
	for _, t := range m.all() {
		if t.topic == topic {
			return t
		}
	}
	return nil
}

// add makes the track of a topic. It reports false if there is one.
func (m *mailbox) add(topic string, resume uint64, resumes bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tracks {
		if t.topic == topic {
			return false
		}
	}
	t := &track{box: inbox.Topic(topic), topic: strings.Clone(topic), resume: resume, resumes: resumes, since: time.Now()}
	m.tracks = append(m.tracks[:len(m.tracks):len(m.tracks)], t)
	return true
}

// drop ends the track of a topic.
func (m *mailbox) drop(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []*track
	for _, t := range m.tracks {
		if t.topic == topic {
			t.ended.Store(true)
			continue
		}
		left = append(left, t)
	}
	m.tracks = left
}

// expect raises want.
func (t *track) expect(offset uint64) {
	for {
		old := t.want.Load()
		if offset <= old || t.want.CompareAndSwap(old, offset) {
			return
		}
	}
}

// acknowledged takes note of what the client has said of this box.
func (t *track) acknowledged(u *unread, user string, offset uint64) {
	for {
		old := t.place.Load()
		if offset <= old || t.place.CompareAndSwap(old, offset) {
			break
		}
	}
	u.store.Ack(t.box, user, offset)
}
