package cluster

import (
	"sync"
	"time"

	"fanfare/server"
)

const (
	// earlyFor is how long after its start a node records the stored commands that
	// it sends, and earlyKept how long it keeps them: its first commands may not
	// reach nodes that have not heard of it.
	earlyFor  = 5 * time.Second
	earlyKept = 15 * time.Second
	// maxRepeats bounds each list. Beyond it, every node is made to look up
	// the stored messages of which it has received no command.
	maxRepeats = 8 << 10
)

// stored is what a command of VerbStored says without the message.
type stored struct {
	to           server.Target
	epoch        string
	offset, prev uint64
}

// repeats are stored commands that may not have reached every node. Sent once
// more, without the message, they make sessions look into the store.
type repeats struct {
	mu        sync.Mutex
	sentEarly map[server.Target]stored // guarded by mu
	lost      map[server.Target]stored // were dropped here; guarded by mu
	overflow  bool                     // guarded by mu
}

// early reports whether this node has just started.
func (r *repeats) early(now time.Time, cn *connection) bool { return r.within(now, cn, earlyFor) }

func (r *repeats) within(now time.Time, cn *connection, d time.Duration) bool {
	since := cn.since.Load() // with a monotonic reading: the clock may be set meanwhile
	return cn.generation.Load() == 1 && now.Sub(*since) < d
}

func (r *repeats) keepEarly(s stored) { r.keep(&r.sentEarly, s) }
func (r *repeats) keepLost(s stored)  { r.keep(&r.lost, s) }

func (r *repeats) keep(list *map[server.Target]stored, s stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *list == nil {
		*list = make(map[server.Target]stored)
	}
	if old, ok := (*list)[s.to]; ok && old.epoch == s.epoch && old.offset > s.offset {
		return
	}
	if len(*list) >= maxRepeats {
		clear(*list)
		r.overflow = true
	}
	(*list)[s.to] = s
}

// takeOverflow reports whether a list was dropped.
func (r *repeats) takeOverflow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.overflow
	r.overflow = false
	return was
}

// expire drops the commands of the start when every node has heard of this one.
func (r *repeats) expire(now time.Time, cn *connection) {
	if r.within(now, cn, earlyKept) {
		return
	}
	r.mu.Lock()
	r.sentEarly = nil
	r.mu.Unlock()
}

// take returns the commands to repeat: the dropped ones and, for a node that has
// been linked, the ones sent since the start.
func (r *repeats) take(early bool) (list []stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.lost {
		list = append(list, s)
	}
	r.lost = nil
	if early {
		for _, s := range r.sentEarly {
			list = append(list, s)
		}
	}
	return list
}

// repeat sends stored commands once more.
func (l *controlLoop) repeat(early bool) {
	now := l.now()
	if l.conn.ready() != nil {
		return
	}
	if early && !l.repeats.within(now, &l.conn, earlyKept) {
		l.repeats.mu.Lock()
		l.repeats.overflow = true // the list is gone
		l.repeats.mu.Unlock()
	}
	for _, s := range l.repeats.take(early) {
		cmd := server.Command{Verb: server.VerbStored, User: s.to.User, Topic: s.to.Topic, Epoch: s.epoch, Offset: s.offset, Prev: s.prev}
		body := appendCommand(appendNumbers(appendHeader(nil, kindCommand, l.id), 0), &cmd)
		l.count.repeated.Add(1)
		l.dispatch(outgoing{subject: targetOf(s.to).subject(), body: body, at: now, stored: &s})
	}
}
